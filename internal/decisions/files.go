package decisions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Folder is the folder of the log in the state directory, and Ending the end of
// its files' names: NNNNNNNN and Ending.
const (
	Folder = "decisions"
	Ending = ".jsonl.zst"
)

// File is one file of a log.
type File struct {
	Path   string
	Number uint64
	Size   int64 // bytes, compressed
	Head   Head  // zero in a file whose first line was never finished
}

// Files lists the log in a folder, the oldest first.
func Files(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	var list []File
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), Ending)
		n, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil {
			continue
		}
		f := File{Path: filepath.Join(dir, e.Name()), Number: n}
		if i, err := e.Info(); err == nil {
			f.Size = i.Size()
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b File) int {
		if a.Number < b.Number {
			return -1
		}
		return 1
	})
	return list, nil
}

// ReadHead reads the first line of a file into f.Head.
func (f *File) ReadHead() error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	var rec Record
	if err := json.NewDecoder(r).Decode(&rec); err != nil {
		return fmt.Errorf("%s: the first line: %w", f.Path, err)
	}
	if rec.Head == nil {
		return fmt.Errorf("%s: %w: it does not begin with a head", f.Path, errRecord)
	}
	f.Head = *rec.Head
	return nil
}

// Open reads the file's lines, decompressed.
func (f *File) Open() (io.ReadCloser, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("decision log: %w", err)
	}
	z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Path, err), file.Close())
	}
	return &plain{z, file}, nil
}

// plain is a file behind its decompression.
type plain struct {
	*zstd.Decoder
	file *os.File
}

// Close closes both.
func (p *plain) Close() error {
	p.Decoder.Close()
	return p.file.Close()
}

// From picks the files that tell what happened since a time: those that began
// then, and the one before, from which they go on. Files whose head cannot be
// read are kept.
func From(files []File, since time.Time) []File {
	first := 0
	for i := range files {
		if files[i].ReadHead() == nil && files[i].Head.Wall.Before(since) {
			first = i
		}
	}
	return files[first:]
}

// ReadFiles plays files, one after the other.
func (p *Replay) ReadFiles(files []File) error {
	for i := range files {
		if i > 0 && files[i].Number != files[i-1].Number+1 {
			p.Core = nil // files are missing in between
		}
		if err := p.readFile(&files[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Replay) readFile(f *File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	return errors.Join(p.Read(filepath.Base(f.Path), r), r.Close())
}
