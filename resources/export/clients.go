package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const pollEvery = 100 * time.Millisecond

// expire ends the clients of version 4 that still have files of the file system open or
// locked: only since Linux 6.9 does unlock_filesystem end what they have, before that it
// knows of the locks of version 3 alone, and the file system could not be unmounted. A
// client is ended as a whole, with what it has open through this server's other exports;
// it opens that again by itself, but for locks that somebody else has taken meanwhile.
func (s Spec) expire(ctx context.Context) error {
	var st unix.Stat_t
	if err := unix.Stat(s.Path, &st); err != nil {
		return nil // what is not there is not held open
	}
	// As the kernel's fs/nfsd/nfs4state.c writes it, nfs4_show_superblock.
	on := fmt.Appendf(nil, "superblock: \"%02x:%02x:", unix.Major(st.Dev), unix.Minor(st.Dev))
	for ended := false; ; ended = true {
		holders, err := holding(on)
		switch {
		case err != nil:
			return err
		case len(holders) == 0 && ended:
			return flush(ctx)
		case len(holders) == 0:
			return nil
		}
		for _, dir := range holders {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, "ctl"), []byte("expire\n"), 0))
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("clients of NFS have files in %s open and are not ended: %s", s.Path, strings.Join(holders, ", ")), err)
		case <-time.After(pollEvery):
		}
	}
}

// holding lists the folders of the clients that have something open there.
func holding(on []byte) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(nfsd(), "clients", "*"))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, dir := range all {
		states, err := os.ReadFile(filepath.Join(dir, "states"))
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO):
			continue // it is gone meanwhile
		case err != nil:
			return nil, fmt.Errorf("what a client of NFS has open: %w", err)
		case bytes.Contains(states, on):
			list = append(list, dir)
		}
	}
	return list, nil
}
