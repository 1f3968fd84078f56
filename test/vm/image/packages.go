package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/u-root/u-root/pkg/cpio"
)

// libraries is where programs find their libraries inside a machine: every dynamic linker looks there without being told.
const libraries = "usr/lib"

// Initiator adds the iSCSI initiator of the distribution, open-iscsi: /sbin/iscsid and /sbin/iscsiadm with the libraries
// that they need, and its iscsid.conf. Libraries are taken from the downloaded packages, else from this machine.
func (c Cache) Initiator() ([]cpio.Record, error) {
	debs, err := c.packages("open-iscsi_", "libopeniscsiusr", "libisns")
	if err != nil {
		return nil, err
	}
	key, err := hashFiles(debs...)
	if err != nil {
		return nil, err
	}
	root, err := c.get("initiator", key, func(dir string) error {
		var errs []error
		for _, d := range debs {
			errs = append(errs, unpack(d, dir))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return nil, err
	}
	conf, err := os.ReadFile(filepath.Join(root, "etc/iscsi/iscsid.conf"))
	if err != nil {
		return nil, err
	}
	records := []cpio.Record{
		cpio.StaticFile("etc/iscsi/iscsid.conf", string(conf), 0o600),
		cpio.StaticFile("etc/passwd", "root:x:0:0:root:/:/bin/false\n", 0o644), // iscsiadm proves itself to iscsid by the name of its user
	}
	needed := map[string]bool{}
	for _, name := range []string{"sbin/iscsid", "sbin/iscsiadm"} {
		file, err := first(filepath.Join(root, name), filepath.Join(root, "usr", name))
		if err != nil {
			return nil, err
		}
		more, err := withLibraries(root, name, file, needed)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	return records, nil
}

// HostPrograms adds programs of this machine, with the libraries that they need. They stand in /sbin inside, whatever their
// folder is here.
func HostPrograms(names ...string) ([]cpio.Record, error) {
	needed := map[string]bool{}
	var records []cpio.Record
	for _, name := range names {
		var places []string
		for _, d := range []string{"/sbin", "/usr/sbin", "/bin", "/usr/bin"} {
			places = append(places, filepath.Join(d, name))
		}
		file, err := first(places...)
		if err != nil {
			return nil, fmt.Errorf("%s is not installed: run test/setup.sh: %w", name, err)
		}
		more, err := withLibraries("/", path.Join("sbin", name), file, needed)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	return records, nil
}

// Merge puts lists together, with what several have, such as libraries, once.
func Merge(lists ...[]cpio.Record) []cpio.Record {
	var all []cpio.Record
	has := map[string]bool{}
	for _, list := range lists {
		for _, r := range list {
			if !has[r.Name] {
				has[r.Name] = true
				all = append(all, r)
			}
		}
	}
	return all
}

// withLibraries gives a program, its dynamic linker and the libraries that are not among the needed ones yet.
func withLibraries(root, name, file string, needed map[string]bool) ([]cpio.Record, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	records := []cpio.Record{cpio.StaticFile(name, string(b), 0o755)}
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	if s := f.Section(".interp"); s != nil && !needed[".interp"] {
		needed[".interp"] = true
		interp, err := s.Data()
		if err != nil {
			return nil, err
		}
		linker := string(interp[:len(interp)-1])
		b, err := os.ReadFile(linker)
		if err != nil {
			return nil, err
		}
		records = append(records, cpio.StaticFile(linker[1:], string(b), 0o755))
	}
	for _, l := range libs {
		if needed[l] {
			continue
		}
		needed[l] = true
		found, err := library(root, l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		more, err := withLibraries(root, path.Join(libraries, l), found, needed)
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	return records, nil
}

// library finds a shared library, first in unpacked packages.
func library(root, name string) (string, error) {
	var places []string
	for _, r := range []string{root, "/"} {
		for _, d := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "usr/lib"} {
			places = append(places, filepath.Join(r, d, name))
		}
	}
	file, err := first(places...)
	if err != nil {
		return "", fmt.Errorf("library %s is nowhere on this machine: install the package that has it (apt-get install open-iscsi brings all)", name)
	}
	return file, nil
}

// first is the first of the files that exists.
func first(names ...string) (string, error) {
	for _, n := range names {
		if _, err := os.Stat(n); err == nil {
			return n, nil
		}
	}
	return "", fmt.Errorf("%s: %w", names[0], os.ErrNotExist)
}
