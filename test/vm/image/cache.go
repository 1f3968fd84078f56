package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is a folder of results, each named by a hash of what it was made of.
type Cache struct{ Dir string }

// OpenCache opens the user's cache, and makes it if it is not there.
func OpenCache() (Cache, error) {
	dir := os.Getenv("HOLDFAST_VM_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Cache{}, fmt.Errorf("no folder for kernels and images: %w; set HOLDFAST_VM_CACHE to one", err)
		}
		dir = filepath.Join(user, "holdfast-vm")
	}
	return Cache{dir}, os.MkdirAll(dir, 0o755)
}

// kept is how many results of one kind are kept.
const kept = 12

// get returns the result of that kind and key, and has it made in a new name if it is not there. Only whole results get
// their name, so that neither a crash nor a second run beside this one leaves half of one.
func (c Cache) get(kind, key string, build func(path string) error) (string, error) {
	path := filepath.Join(c.Dir, kind+"-"+key)
	if now := time.Now(); os.Chtimes(path, now, now) == nil {
		return path, nil
	}
	lock, err := os.OpenFile(filepath.Join(c.Dir, kind+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	half := path + ".half"
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	if err := build(half); err != nil {
		return "", errors.Join(fmt.Errorf("make %s: %w", kind, err), os.RemoveAll(half))
	}
	if err := os.Rename(half, path); err != nil {
		return "", err
	}
	return path, c.prune(kind)
}

// prune removes the results that were not used for the longest time.
func (c Cache) prune(kind string) error {
	names, err := filepath.Glob(filepath.Join(c.Dir, kind+"-*"))
	if err != nil || len(names) <= kept {
		return err
	}
	age := func(name string) int64 {
		if i, err := os.Stat(name); err == nil {
			return i.ModTime().UnixNano()
		}
		return 0
	}
	slices.SortFunc(names, func(a, b string) int { return int(min(1, max(-1, age(b)-age(a)))) })
	for _, n := range names[kept:] {
		err = errors.Join(err, os.RemoveAll(n))
	}
	return err
}

// hashFiles is a hash of the contents of files.
func hashFiles(names ...string) (string, error) {
	h := sha256.New()
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			return "", err
		}
		size, err := io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
		fmt.Fprintf(h, "|%d|", size)
	}
	return short(h.Sum(nil)), nil
}

func hashText(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "|%d|%s", len(w), w)
	}
	return short(h.Sum(nil))
}

func short(sum []byte) string { return hex.EncodeToString(sum[:10]) }

// packages lists the downloaded packages whose file names begin with one of the prefixes; each prefix has to be there.
func (c Cache) packages(prefixes ...string) ([]string, error) {
	var all []string
	for _, p := range prefixes {
		found, err := filepath.Glob(filepath.Join(c.Dir, "packages", p+"*.deb"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no package %s in %s: run test/setup.sh, which downloads it with apt-get on Debian",
				strings.TrimRight(p, "_["), filepath.Join(c.Dir, "packages"))
		}
		all = append(all, found...)
	}
	return all, nil
}
