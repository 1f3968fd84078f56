package iscsi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/iscsi"
)

// guard is the program that has this node's quorum disks open for as long as it runs.
const guard = "holdfast-guard"

// ofQuorum names a disk of the sessions that the guard has open: a quorum disk. Such
// sessions are the system's: it makes them at boot, before there is a cluster, and
// whoever ends one takes the quorum disk from the node. Empty: there is none.
func ofQuorum(sessions []iscsi.Session) string {
	var disks []string
	for _, s := range sessions {
		for _, d := range s.Disks {
			disks = append(append(disks, d.Name), d.Holders...)
		}
	}
	if len(disks) == 0 {
		return ""
	}
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // fails only for a bad pattern
	for _, name := range names {
		if comm, err := os.ReadFile(name); err != nil || strings.TrimSpace(string(comm)) != guard {
			continue // or it has ended meanwhile
		}
		links, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "fd", "*"))
		for _, link := range links {
			open, err := os.Readlink(link)
			if err != nil || filepath.Dir(open) != "/dev" {
				continue
			}
			// A partition has its disk's name and a number behind it.
			open = filepath.Base(open)
			if slices.Contains(disks, open) || slices.Contains(disks, strings.TrimRight(open, "0123456789")) {
				return open
			}
		}
	}
	return ""
}
