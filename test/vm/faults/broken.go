package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Broken is a deliberate break of the program, which the rig has to convict.
type Broken struct {
	Name string
	File string // below the folder of go.mod
	Old  string // stands in File exactly once
	New  string
	// Fault shows it.
	Fault string
	Crime string // how the accusation begins
}

// Builds are the broken builds.
func Builds() []Broken {
	const cutOff = "the owner cut off from everything, its daemon stopped"
	return []Broken{
		{
			Name: "the guard feeds without a lease", File: "cluster/lease/lease.go",
			Old: "l.v.State == Free || (now <= l.v.Permission && l.fresh(now))", New: "true || now > l.v.Permission",
			Fault: cutOff, Crime: "two owners",
		},
		{
			Name: "the wait is short by one watchdog period", File: "cluster/timing/wait.go",
			Old: "float64(l.M)*float64(l.TMax)", New: "float64(l.M-1)*float64(l.TMax)", Fault: cutOff, Crime: "two owners",
		},
		{
			Name: "a file system is released without the exclusive open", File: "storage/mount/mount.go",
			Old: "unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC", New: "unix.O_RDONLY|unix.O_CLOEXEC",
			Fault: "file system kept in use where no table shows it", Crime: "two owners",
		},
	}
}

// Overlay writes the broken file into a folder and returns the list that puts it in place: the argument of the flag -overlay of
// the go command. Root is the folder of go.mod.
func (b Broken) Overlay(root, dir string) (string, error) {
	at, err := filepath.Abs(filepath.Join(root, b.File))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(at)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(text, []byte(b.Old)); n != 1 {
		return "", fmt.Errorf("%q stands %d times in %s, want once", b.Old, n, b.File)
	}
	broken, list := filepath.Join(dir, filepath.Base(b.File)), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(broken, bytes.Replace(text, []byte(b.Old), []byte(b.New), 1), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {at: broken}})
	if err != nil {
		return "", err
	}
	return list, os.WriteFile(list, replace, 0o600)
}
