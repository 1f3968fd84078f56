package machine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Furniture is files for a machine, by their path from its root.
type Furniture map[string]File

// File is one of them.
type File struct {
	Text string
	Mode fs.FileMode
	User int // owner and group
	Grp  int
}

// Put writes them below a root.
func (f Furniture) Put(root string) error {
	var errs []error
	for path, file := range f {
		path = filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(file.Text), file.Mode)
		}
		errs = append(errs, err, os.Chmod(path, file.Mode), os.Lchown(path, file.User, file.Grp))
	}
	return errors.Join(errs...)
}
