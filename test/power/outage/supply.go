// Package outage takes the power from a node that lives on this machine together
// with others: it cuts file systems off their disks, kills processes, and leaves
// links dark. It tidies nothing up: what a node had not written is lost.
package outage

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Supply is everything that stops when the node loses power. Whatever is empty
// is not touched. Processes are found by cgroup (root) or by Marker (anybody).
type Supply struct {
	// Cgroups are directories of cgroup version 2; they and all below is the node.
	Cgroups []string `json:"cgroups,omitempty"`
	// Marker is an environment entry NAME=VALUE that every process of the
	// node inherits; it must not be in the emulator's own environment.
	Marker string `json:"marker,omitempty"`
	// MountNS is the node's mount namespace, as /proc/PID/ns/mnt or a bind
	// mount of it; empty: the emulator's own. The namespaces that the
	// node's processes are in are searched as well.
	MountNS string `json:"mount_ns,omitempty"`
	// Mounts are directories: every file system mounted at or below is the node's.
	Mounts []string `json:"mounts,omitempty"`
	// Disks are block devices of the node, mostly loop devices; whatever is
	// mounted from them is the node's too.
	Disks []string `json:"disks,omitempty"`
	// Caches are processes that hold what its disks were given and have not been
	// made to keep: they are killed before anything else, and it is lost.
	Caches []int `json:"caches,omitempty"`
	// NetNS is the node's network namespace, such as /run/netns/alpha; Links
	// are its network cards. Without NetNS links are left alone.
	NetNS string `json:"net_ns,omitempty"`
	Links []Link `json:"links,omitempty"`
	// Spare are processes that outlive the power, for tests of a writer
	// that was stopped and wakes after the reset. They lose their disks,
	// their file systems and their watchdogs all the same.
	Spare []int `json:"spare,omitempty"`
}

// Link is a network card. Keep are the addresses, such as 10.0.0.1/24, that the
// node has from boot; all others are gone after a power loss.
type Link struct {
	Name string   `json:"name"`
	Keep []string `json:"keep,omitempty"`
}

// Check refuses a supply whose loss would hit more than one node.
func (s Supply) Check() error {
	for _, p := range append(append([]string{}, s.Mounts...), s.Cgroups...) {
		if !filepath.IsAbs(p) || strings.Count(filepath.Clean(p), "/") < 2 {
			return fmt.Errorf("%s: a directory below a directory of the root is wanted, nothing nearer to it", p)
		}
	}
	for _, pid := range s.Caches {
		if pid <= 1 {
			return fmt.Errorf("a cache of a disk is a process of its own, not process %d", pid)
		}
	}
	if s.Marker != "" {
		if name, value, ok := strings.Cut(s.Marker, "="); !ok || name == "" || value == "" {
			return errors.New("the marker must be NAME=VALUE")
		}
	}
	if len(s.Links) > 0 && s.NetNS == "" {
		return errors.New("links without a network namespace: those of this machine are never touched")
	}
	return nil
}
