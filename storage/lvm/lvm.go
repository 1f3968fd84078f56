// Package lvm is for volume groups that belong to a service: see whose one is, take
// it over, activate it on the node that owns the service, deactivate it before
// another may have it, and say whether something else (auto-activation at boot)
// would activate it behind the cluster's back.
//
// A volume group is released when no logical volume of it is in the device mapper
// any more, which is read from sysfs, not when a command returned.
package lvm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/storage/program"
)

// Tool calls lvm(8).
type Tool struct {
	Run   program.Runner
	Sysfs string // where sysfs is mounted
}

// Group is a volume group as its metadata on the disks describe it.
type Group struct {
	Name, UUID string
	SystemID   string   // of the machine that may use it; empty: any
	Tags       []string // sorted
	Auto       bool     // activated by whoever sees it
	Missing    int      // physical volumes that are not here
	Volumes    int      // logical volumes
	Devices    []string // its physical volumes, sorted
}

// report is what lvm prints with --reportformat json.
type report struct {
	Report []struct {
		VG []map[string]string `json:"vg"`
		PV []map[string]string `json:"pv"`
	} `json:"report"`
}

// exitNotFound is what lvm exits with for a group that it does not see, and for most
// other failures; its text tells which.
const exitNotFound = 5

func (t Tool) ask(ctx context.Context, args ...string) (report, program.Result, error) {
	var r report
	res, err := t.Run(ctx, program.Command{Argv: append([]string{"lvm"}, args...), Env: []string{"LVM_SUPPRESS_FD_WARNINGS=1"}})
	if err != nil || res.Code != 0 {
		return r, res, err
	}
	if err := json.Unmarshal([]byte(res.Stdout), &r); err != nil || len(r.Report) == 0 {
		return r, res, fmt.Errorf("lvm %s: its report cannot be read: %w", args[0], err)
	}
	return r, res, nil
}

// Find reads a volume group, also one that belongs to another machine. It reads
// every disk that lvm may look at, and takes as long as the slowest.
func (t Tool) Find(ctx context.Context, name string) (g Group, found bool, err error) {
	const fields = "vg_name,vg_uuid,vg_systemid,vg_tags,vg_missing_pv_count,lv_count"
	// Older versions do not know autoactivation: there every group is.
	for _, columns := range []string{fields + ",vg_autoactivation", fields} {
		r, res, err := t.ask(ctx, "vgs", "--foreign", "--reportformat", "json", "-o", columns, name)
		switch {
		case err != nil:
			return g, false, err
		case res.Code == exitNotFound && strings.Contains(res.Stderr, "not found"):
			return g, false, nil
		case res.Code != 0 && strings.Contains(res.Stderr, "autoactivation"):
			continue
		case res.Code != 0:
			return g, false, fmt.Errorf("lvm vgs %s exits with %d: %s", name, res.Code, res.Said())
		case len(r.Report[0].VG) != 1:
			return g, false, fmt.Errorf("lvm vgs %s: there are %d groups of that name; vgrename all but one, by uuid", name, len(r.Report[0].VG))
		}
		v := r.Report[0].VG[0]
		g = Group{Name: v["vg_name"], UUID: v["vg_uuid"], SystemID: v["vg_systemid"]}
		if v["vg_tags"] != "" {
			g.Tags = strings.Split(v["vg_tags"], ",")
			slices.Sort(g.Tags)
		}
		auto, known := v["vg_autoactivation"]
		g.Auto = !known || auto != ""
		if _, err := fmt.Sscan(v["vg_missing_pv_count"]+" "+v["lv_count"], &g.Missing, &g.Volumes); err != nil {
			return g, false, fmt.Errorf("lvm vgs %s: %w", name, err)
		}
		g.Devices, err = t.devices(ctx, name)
		return g, err == nil, err
	}
	return g, false, errors.New("lvm vgs does not know its own fields")
}

func (t Tool) devices(ctx context.Context, name string) ([]string, error) {
	r, res, err := t.ask(ctx, "pvs", "--foreign", "--reportformat", "json", "-o", "pv_name", "-S", "vg_name="+name)
	switch {
	case err != nil:
		return nil, err
	case res.Code != 0:
		return nil, fmt.Errorf("lvm pvs exits with %d: %s", res.Code, res.Said())
	}
	var list []string
	for _, p := range r.Report[0].PV {
		list = append(list, p["pv_name"])
	}
	slices.Sort(list)
	return list, nil
}

// SystemID is this machine's own; empty if it has none.
func (t Tool) SystemID(ctx context.Context) (string, error) {
	res, err := t.Run(ctx, program.Command{Argv: []string{"lvm", "systemid"}})
	switch {
	case err != nil:
		return "", err
	case res.Code != 0:
		return "", fmt.Errorf("lvm systemid exits with %d: %s", res.Code, res.Said())
	}
	_, id, _ := strings.Cut(res.Stdout, "system ID:")
	return strings.TrimSpace(id), nil
}

// Excluded says whether lvm.conf keeps the group from being activated by whoever
// sees it: the setting names what may be, and not this.
func (t Tool) Excluded(ctx context.Context, name string) bool {
	for _, setting := range []string{"activation/auto_activation_volume_list", "activation/volume_list"} {
		res, err := t.Run(ctx, program.Command{Argv: []string{"lvm", "lvmconfig", setting}})
		if err != nil || res.Code != 0 {
			continue // it is not set
		}
		_, list, _ := strings.Cut(res.Stdout, "=")
		named := false
		for _, entry := range strings.FieldsFunc(list, func(c rune) bool { return strings.ContainsRune("[]\", \n", c) }) {
			group, _, _ := strings.Cut(entry, "/")
			named = named || group == name || strings.HasPrefix(entry, "@")
		}
		if !named {
			return true
		}
	}
	return false
}

// change runs vgchange on the group, in spite of the system ID that it has.
func (t Tool) change(ctx context.Context, g Group, args ...string) error {
	argv := []string{"lvm", "vgchange", "--yes"}
	if g.SystemID != "" {
		argv = append(argv, "--config", fmt.Sprintf("local/extra_system_ids=[%q]", g.SystemID))
	}
	argv = append(append(argv, args...), g.Name)
	res, err := t.Run(ctx, program.Command{Argv: argv})
	switch {
	case err != nil:
		return err
	case res.Code != 0:
		return fmt.Errorf("vgchange %s of %s exits with %d: %s", strings.Join(args, " "), g.Name, res.Code, res.Said())
	}
	return nil
}

// Take makes the group this machine's.
func (t Tool) Take(ctx context.Context, g Group, systemID string) error {
	return t.change(ctx, g, "--systemid", systemID)
}

// Tag adds a tag and removes others.
func (t Tool) Tag(ctx context.Context, g Group, add string, remove ...string) error {
	var args []string
	if add != "" && !slices.Contains(g.Tags, add) {
		args = append(args, "--addtag", add)
	}
	for _, tag := range remove {
		if slices.Contains(g.Tags, tag) {
			args = append(args, "--deltag", tag)
		}
	}
	if len(args) == 0 {
		return nil
	}
	return t.change(ctx, g, args...)
}

// Activate activates all logical volumes of the group; with a tag, those that
// lvm.conf would only let be activated with it.
func (t Tool) Activate(ctx context.Context, g Group, tag string) error {
	args := []string{"--activate", "y"}
	if tag != "" {
		args = append(args, "--config", fmt.Sprintf("activation/volume_list=[%q]", "@"+tag))
	}
	return t.change(ctx, g, args...)
}

// Deactivate deactivates them.
func (t Tool) Deactivate(ctx context.Context, g Group) error {
	return t.change(ctx, g, "--activate", "n")
}

// Remove takes volumes out of the device mapper without asking lvm, which knows nothing
// of a group whose disks are gone. One that is in use stays, and is an error.
func (t Tool) Remove(ctx context.Context, volumes ...Volume) error {
	var errs []error
	for _, v := range volumes {
		res, err := t.Run(ctx, program.Command{Argv: []string{"dmsetup", "remove", v.Name}})
		if err == nil && res.Code != 0 {
			err = fmt.Errorf("dmsetup remove %s exits with %d: %s", v.Name, res.Code, res.Said())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Volume is a logical volume that is in the device mapper.
type Volume struct {
	Name    string   // as the device mapper has it: group-volume
	Device  string   // dm-3
	Holders []string // devices that stand on it
}

// Active lists the logical volumes of a group that are in the device mapper. It asks
// nobody but the kernel, and works for a group whose disks are gone.
func (t Tool) Active(name string) ([]Volume, error) {
	prefix := strings.ReplaceAll(name, "-", "--") + "-"
	dirs, err := os.ReadDir(filepath.Join(t.Sysfs, "block"))
	if err != nil {
		return nil, fmt.Errorf("block devices of this machine: %w", err)
	}
	var list []Volume
	for _, d := range dirs {
		if !strings.HasPrefix(d.Name(), "dm-") {
			continue
		}
		dir := filepath.Join(t.Sysfs, "block", d.Name())
		uuid, err := os.ReadFile(filepath.Join(dir, "dm", "uuid"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it vanished meanwhile
		}
		label, err2 := os.ReadFile(filepath.Join(dir, "dm", "name"))
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("device mapper: %w", err)
		}
		rest, ours := strings.CutPrefix(strings.TrimSpace(string(label)), prefix)
		if !ours || strings.HasPrefix(rest, "-") || !strings.HasPrefix(string(uuid), "LVM-") {
			continue
		}
		v := Volume{Name: prefix + rest, Device: d.Name()}
		holders, _ := os.ReadDir(filepath.Join(dir, "holders"))
		for _, h := range holders {
			v.Holders = append(v.Holders, h.Name())
		}
		list = append(list, v)
	}
	return list, nil
}
