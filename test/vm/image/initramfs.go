package image

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// Content says what an initial file system consists of.
type Content struct {
	// Files are paths inside, without the first slash, with the files of this machine that stand there. Those must be
	// static programs or data; libraries are not followed.
	Files map[string]string
	// Modules are loadable, with what they depend on; nothing is loaded for being there.
	Modules []string
	// Records are added as they are.
	Records []cpio.Record
}

// Initramfs makes the archive, or finds it made, and returns its path.
func (c Cache) Initramfs(k Kernel, content Content) (string, error) {
	records, err := content.records(k)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if err := write(h, records); err != nil {
		return "", err
	}
	return c.get("initramfs", short(h.Sum(nil)), func(path string) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		return errors.Join(write(w, records), w.Flush(), f.Close())
	})
}

func write(w interface{ Write([]byte) (int, error) }, records []cpio.Record) error {
	out := cpio.Newc.Writer(w)
	if err := cpio.WriteRecordsAndDirs(out, records); err != nil {
		return err
	}
	return cpio.WriteTrailer(out)
}

// records are the entries of the archive, in an order and with inode numbers that follow from the content alone.
func (content Content) records(k Kernel) ([]cpio.Record, error) {
	records := []cpio.Record{cpio.CharDev("dev/console", 0o600, 5, 1), cpio.Directory("proc", 0o755), cpio.Directory("sys", 0o755)}
	for _, name := range slices.Sorted(maps.Keys(content.Files)) {
		b, err := os.ReadFile(content.Files[name])
		if err != nil {
			return nil, err
		}
		records = append(records, cpio.StaticFile(name, string(b), 0o755))
	}
	mods, err := k.modules(content.Modules)
	if err != nil {
		return nil, err
	}
	dir := path.Join("lib/modules", k.Release)
	var dep strings.Builder
	for _, m := range mods {
		records = append(records, cpio.StaticFile(path.Join(dir, m.name+".ko"), string(m.content), 0o644))
		fmt.Fprintf(&dep, "%s.ko:", m.name)
		for _, d := range m.depends {
			fmt.Fprintf(&dep, " %s.ko", strings.ReplaceAll(d, "-", "_"))
		}
		dep.WriteString("\n")
	}
	records = append(records, cpio.StaticFile(path.Join(dir, "modules.dep"), dep.String(), 0o644))
	records = append(records, content.Records...)
	for i := range records {
		records[i] = cpio.MakeReproducible(records[i])
		records[i].Ino = uint64(i + 1)
	}
	return records, nil
}
