package enrol

import (
	"errors"
	"os"
	"path/filepath"
)

// file is one file to write.
type file struct {
	path string
	text []byte
	mode os.FileMode
}

// replaceFiles writes all files or none: each beside its place first, then all
// are renamed. The directories are made as needed. What it has written outlives a
// power cut once it returns: a node that has just joined may lose its power next,
// and must know afterwards who it is.
func replaceFiles(files []file) error {
	var made []string
	undo := func(err error) error {
		for _, m := range made {
			_ = os.Remove(m)
		}
		return err
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return undo(err)
		}
		if err := writeSynced(f.path+".new", f.text, f.mode); err != nil {
			return undo(err)
		}
		made = append(made, f.path+".new")
	}
	for _, f := range files {
		if err := os.Rename(f.path+".new", f.path); err != nil {
			return undo(err)
		}
		made = append(made, f.path)
	}
	for _, f := range files {
		if err := syncDir(filepath.Dir(f.path)); err != nil {
			return err
		}
	}
	return nil
}

// writeSynced writes a file and returns once it is on the disk. What stands in its
// way stays; a piece of the file does not.
func writeSynced(path string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// syncDir puts the names in a directory, and its own name, on the disk.
func syncDir(dir string) error {
	for _, path := range []string{dir, filepath.Dir(dir)} {
		d, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
	}
	return nil
}
