// Package multipath reads what is known of the paths below a multipath map: how many
// there are, which of them work, and what happens to I/O when none does. It asks
// multipathd(8), which checks the paths, and where that does not answer the kernel.
package multipath

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-ha/holdfast/storage/program"
)

// Tool asks this machine.
type Tool struct {
	Run   program.Runner
	Sysfs string // where sysfs is mounted
}

// Map is a multipath map.
type Map struct {
	Name  string // as below /dev/mapper
	WWID  string
	Paths []Path
	// Queueing is what happens to I/O when no path works: "off" fails it at once, "on"
	// holds it back for ever, "3 chk" after so many checks of the paths; empty is not
	// known.
	Queueing string
}

// Path is one way to the disk.
type Path struct {
	Device string // sdb
	State  string // active, failed; from the kernel alone: running, offline, ...
	Works  bool
}

// Working are the names of the paths that work, and of those that do not.
func (m Map) Working() (good, bad []string) {
	for _, p := range m.Paths {
		if p.Works {
			good = append(good, p.Device)
		} else {
			bad = append(bad, p.Device+" ("+p.State+")")
		}
	}
	return good, bad
}

// answer is what "multipathd show maps json" prints, as far as it is used (version
// 0.8 and later).
type answer struct {
	Maps []struct {
		Name     string `json:"name"`
		UUID     string `json:"uuid"`
		Queueing string `json:"queueing"`
		Groups   []struct {
			Paths []struct {
				Dev   string `json:"dev"`
				State string `json:"dm_st"`
				Check string `json:"chk_st"`
			} `json:"paths"`
		} `json:"path_groups"`
	} `json:"maps"`
}

// Find returns the map of a name or a WWID; false: there is none.
func (t Tool) Find(ctx context.Context, name string) (Map, bool, error) {
	res, err := t.Run(ctx, program.Command{Argv: []string{"multipathd", "show", "maps", "json"}})
	if ctx.Err() != nil {
		return Map{}, false, err
	}
	var a answer
	if err == nil && res.Code == 0 && json.Unmarshal([]byte(res.Stdout), &a) == nil {
		for _, m := range a.Maps {
			if m.Name != name && m.UUID != name {
				continue
			}
			found := Map{Name: m.Name, WWID: m.UUID, Queueing: m.Queueing}
			for _, g := range m.Groups {
				for _, p := range g.Paths {
					found.Paths = append(found.Paths, Path{Device: p.Dev, State: p.State, Works: p.State == "active" && p.Check != "faulty"})
				}
			}
			return found, true, nil
		}
		return Map{}, false, nil
	}
	return t.kernel(name)
}

// kernel looks into sysfs alone: a path that it calls running may still not work.
func (t Tool) kernel(name string) (Map, bool, error) {
	blocks, err := os.ReadDir(filepath.Join(t.Sysfs, "block"))
	if err != nil {
		return Map{}, false, fmt.Errorf("block devices of this machine: %w", err)
	}
	for _, b := range blocks {
		dir := filepath.Join(t.Sysfs, "block", b.Name())
		uuid, err := os.ReadFile(filepath.Join(dir, "dm", "uuid"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return Map{}, false, err
		}
		wwid, is := strings.CutPrefix(strings.TrimSpace(string(uuid)), "mpath-")
		label, _ := os.ReadFile(filepath.Join(dir, "dm", "name"))
		if m := strings.TrimSpace(string(label)); !is || m != name && wwid != name {
			continue
		}
		found := Map{Name: strings.TrimSpace(string(label)), WWID: wwid}
		slaves, err := os.ReadDir(filepath.Join(dir, "slaves"))
		if err != nil {
			return found, true, err
		}
		for _, s := range slaves {
			state, _ := os.ReadFile(filepath.Join(dir, "slaves", s.Name(), "device", "state"))
			p := Path{Device: s.Name(), State: strings.TrimSpace(string(state))}
			p.Works = p.State == "running"
			found.Paths = append(found.Paths, p)
		}
		return found, true, nil
	}
	return Map{}, false, nil
}
