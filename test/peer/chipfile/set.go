package chipfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Set is a watchdog for each of several machines.
type Set struct {
	// Paths are the files, by the names of their machines.
	Paths map[string]string

	files []*File
}

// MountSet makes a file for the chip of each machine, in a folder that is gone from
// sight once the machines have theirs. The caller closes the set, also an empty one.
func MountSet(machines []string, chip string, socket func() string) (*Set, error) {
	dir, err := os.MkdirTemp("", "hfdemo-chips-")
	if err != nil {
		return nil, err
	}
	s := &Set{Paths: map[string]string{}}
	for _, name := range machines {
		path := filepath.Join(dir, name)
		f, err := Mount(path, Chip{Node: name, Name: chip, Socket: socket})
		if err != nil {
			return nil, errors.Join(err, s.Close(), os.RemoveAll(dir))
		}
		s.Paths[name], s.files = path, append(s.files, f)
	}
	return s, nil
}

// Close removes the files; see File.Close. It may be called twice.
func (s *Set) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	for _, path := range s.Paths {
		_ = os.Remove(filepath.Dir(path)) // when the last file is gone
	}
	s.files, s.Paths = nil, nil
	return errors.Join(errs...)
}
