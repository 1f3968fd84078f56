package quorumdisk

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// KeySize is the length of a cluster key in bytes.
const KeySize = 32

// Key is a cluster key: the secret that all nodes of a cluster share. It keeps
// accidents and foreign writers out; whoever can write to the disk can still
// erase it.
type Key [KeySize]byte

// IsZero says that there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// String never shows the key.
func (Key) String() string { return "(a cluster key)" }

// Keys are the cluster keys that are valid now. Writers seal with Current;
// readers accept both. While a key is being exchanged, Previous is the other
// one: first the new key on every node, next to the old one that is still
// Current; then the two change places; when everything that counts was written
// again, the old one goes.
type Keys struct {
	Current  Key
	Previous Key // zero: none
}

// NewKey draws a cluster key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k[:]) // never fails: the runtime ends the program instead
	return k
}

// NewUUID draws a random identity (RFC 4122, version 4), for a cluster or a disk.
func NewUUID() ident.UUID {
	var u ident.UUID
	_, _ = rand.Read(u[:]) // never fails: the runtime ends the program instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// ErrKeyFile says that a key file cannot be used.
var ErrKeyFile = errors.New("not usable as a cluster key file")

// LoadKeys reads a key file: one line of 64 hexadecimal digits, the current
// key, and during an exchange of keys a second one. A file that anybody but its
// owner may read or write is refused.
func LoadKeys(path string) (Keys, error) {
	var k Keys
	f, err := os.Open(path)
	if err != nil {
		return k, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return k, err
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return k, fmt.Errorf("%s: %w: its mode is %v, and others may use it: chmod 600 %s", path, ErrKeyFile, mode, path)
	}
	buf := make([]byte, 4*KeySize+4)
	n, err := f.Read(buf)
	if err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	if k, err = parseKeys(buf[:n]); err != nil {
		return Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func parseKeys(text []byte) (Keys, error) {
	var k Keys
	lines := bytes.Fields(text)
	if len(lines) < 1 || len(lines) > 2 {
		return k, fmt.Errorf("%w: %d lines, want one key, or two while keys are exchanged", ErrKeyFile, len(lines))
	}
	for i, to := range []*Key{&k.Current, &k.Previous}[:len(lines)] {
		if len(lines[i]) != 2*KeySize {
			return Keys{}, fmt.Errorf("%w: line %d has %d characters, want %d hexadecimal digits", ErrKeyFile, i+1, len(lines[i]), 2*KeySize)
		}
		if _, err := hex.Decode(to[:], lines[i]); err != nil || to.IsZero() {
			return Keys{}, fmt.Errorf("%w: line %d is not a key of %d hexadecimal digits", ErrKeyFile, i+1, 2*KeySize)
		}
	}
	return k, nil
}

// Save writes the key file, mode 0600, replacing it as a whole and durably.
func (k Keys) Save(path string) (err error) {
	if k.Current.IsZero() {
		return fmt.Errorf("%s: %w: there is no current key", path, ErrKeyFile)
	}
	text := hex.EncodeToString(k.Current[:]) + "\n"
	if !k.Previous.IsZero() {
		text += hex.EncodeToString(k.Previous[:]) + "\n"
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Purpose is what a derived key is for. What was sealed for one purpose, or in
// one cluster, does not open in another.
type Purpose uint8

// The purposes. The order is not on the disk; the strings are.
const (
	ForSuperblock Purpose = iota
	ForBeat
	ForHeader
	ForBlob
	ForProbe
	ForNetwork // not on the disk: the heartbeat links
)

// String is the text that goes into the derivation.
func (p Purpose) String() string {
	return [...]string{"superblock", "beat", "register header", "status blob", "probe", "network"}[p]
}

// Derive returns the keys for one purpose in one cluster, 32 bytes each: the
// one to seal with, and the other one to accept (nil if there is none). It is
// HKDF-SHA-256 (RFC 5869) with the cluster's UUID as salt and "holdfast 1 " and
// the purpose as info.
func (k Keys) Derive(p Purpose, cluster ident.UUID) (current, previous []byte, err error) {
	if current, err = derive(k.Current, p, cluster); err != nil {
		return nil, nil, err
	}
	if !k.Previous.IsZero() {
		previous, err = derive(k.Previous, p, cluster)
	}
	return current, previous, err
}

func derive(k Key, p Purpose, cluster ident.UUID) ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("%w: there is no cluster key", ErrKeyFile)
	}
	return hkdf.Key(sha256.New, k[:], cluster[:], "holdfast 1 "+p.String(), KeySize)
}
