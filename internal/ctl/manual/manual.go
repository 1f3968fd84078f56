// Package manual writes the man pages: one of section 8 for each command, from its help text; of section 5 for the two
// configuration files, from the tables that their readers use; and the pages that are written by hand, which stand in
// pages as Markdown.
package manual

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// written holds the pages written by hand: NAME.SECTION.md, where a line "@reference" stands for the generated table of
// the file that the page describes.
//
//go:embed pages
var written embed.FS

const mark = "@reference\n"

// Set is what all pages have in their heads.
type Set struct {
	Version string    // of the program
	Date    time.Time // of the pages; the day counts
}

// Write writes every page below dir, in man5, man7 and man8. Files that are there already are overwritten.
func (s Set) Write(dir string, root *cobra.Command) error {
	for _, section := range []string{"man5", "man7", "man8"} {
		if err := os.MkdirAll(filepath.Join(dir, section), 0o755); err != nil {
			return err
		}
	}
	header := &doc.GenManHeader{Section: "8", Source: "Holdfast " + s.Version, Manual: "Holdfast", Date: &s.Date}
	if err := doc.GenManTree(root, header, filepath.Join(dir, "man8")); err != nil {
		return fmt.Errorf("man pages of the commands: %w", err)
	}
	files, err := fs.Glob(written, "pages/*.md")
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := s.page(dir, f); err != nil {
			return fmt.Errorf("man page %s: %w", filepath.Base(f), err)
		}
	}
	return nil
}

// page converts one written page.
func (s Set) page(dir, file string) error {
	text, err := written.ReadFile(file)
	if err != nil {
		return err
	}
	page := strings.TrimSuffix(filepath.Base(file), ".md") // holdfast.yaml.5
	cut := strings.LastIndexByte(page, '.')
	name, section := page[:cut], page[cut+1:]
	body := string(text)
	if before, after, found := strings.Cut(body, mark); found {
		table, err := reference(schemaOf(name))
		if err != nil {
			return err
		}
		body = before + table + after
	}
	head := fmt.Sprintf("%% %q %q %q %q %q\n\n", strings.ToUpper(name), section, s.Date.UTC().Format("2006-01-02"), "Holdfast "+s.Version, "Holdfast")
	return os.WriteFile(filepath.Join(dir, "man"+section, page), md2man.Render([]byte(head+body)), 0o644)
}

func schemaOf(name string) []byte {
	if name == "node.yaml" {
		return config.NodeSchema()
	}
	return config.ClusterSchema()
}
