package report

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/holdfast-ha/holdfast/internal/scrub"
)

// archive is a compressed tar file below one directory.
type archive struct {
	stem    string
	when    time.Time
	secrets *scrub.Scrubber
	zip     *gzip.Writer
	tar     *tar.Writer
}

func newArchive(to io.Writer, stem string, when time.Time, s *scrub.Scrubber) *archive {
	z := gzip.NewWriter(to)
	return &archive{stem: stem, when: when, secrets: s, zip: z, tar: tar.NewWriter(z)}
}

// add puts one item into the archive without its secrets. What cannot be had is said
// in its place; an error is one of the archive.
func (a *archive) add(ctx context.Context, i item, made *Made) error {
	text, err := i.text(ctx)
	if err != nil {
		made.Missing = append(made.Missing, string(a.secrets.Clean([]byte(i.name+": "+err.Error()))))
		return nil
	}
	made.Files = append(made.Files, i.name)
	return a.put(i.name, a.secrets.Clean(text))
}

func (a *archive) put(name string, text []byte) error {
	h := &tar.Header{Name: a.stem + "/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: a.when, Format: tar.FormatPAX}
	if err := a.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := a.tar.Write(text)
	return err
}

// manifest says what there is and what could not be had.
func (a *archive) manifest(made *Made) error {
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return err
	}
	return a.put("MANIFEST.json", a.secrets.Clean(text))
}

func (a *archive) close() error { return errors.Join(a.tar.Close(), a.zip.Close()) }
