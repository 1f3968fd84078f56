// Package lab puts machines, networks and disks together for a test, and clears them away behind it.
//
// Everything of one lab is in one folder, with a short name because of the sockets in it. After a test that failed the
// folder is kept, with the consoles and logs, and the test says where. What a killed run has left is found by the folder's
// name and removed by the next one, processes by their numbers.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
)

// prefix is how the folders of labs begin.
const prefix = "hfvm-"

// Lab is what a test has.
type Lab struct {
	Dir string
	t   testing.TB

	cache     image.Cache
	kernel    image.Kernel
	initramfs string

	networks []*network.Switch
	disks    []*disk.Disk
	machines []*machine.Machine
}

// Open makes a lab whose machines boot an initial file system of that content, beside init and the modules that every
// machine needs. Without QEMU, or the packages that test/setup.sh downloads, the test fails with the remedy.
func Open(t testing.TB, content image.Content) *Lab {
	t.Helper()
	l := &Lab{t: t}
	if err := l.open(content); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func (l *Lab) open(content image.Content) (err error) {
	if l.cache, err = image.OpenCache(); err != nil {
		return err
	}
	if l.kernel, err = l.cache.Kernel(); err != nil {
		return err
	}
	if l.Dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid())); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	program, err := image.Program(ctx, l.Dir, "test/vm/init")
	if err != nil {
		return err
	}
	files := map[string]string{"init": program}
	for k, v := range content.Files {
		files[k] = v
	}
	content.Files = files
	content.Modules = append(machine.Modules(), content.Modules...)
	l.initramfs, err = l.cache.Initramfs(l.kernel, content)
	return err
}

// Context ends after d, or before the test's own end.
func (l *Lab) Context(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), d)
	l.t.Cleanup(cancel)
	return ctx
}

// Cache is where kernels and images are kept.
func (l *Lab) Cache() image.Cache { return l.cache }

// Kernel is the file that the machines boot.
func (l *Lab) Kernel() string { return l.kernel.Path }

// Network makes a network. All of a lab's networks are apart.
func (l *Lab) Network(name string) *network.Switch {
	s := network.New(l.Dir, name, 1)
	l.networks = append(l.networks, s)
	return s
}

// Disk makes a disk of size bytes.
func (l *Lab) Disk(serial string, size int64) *disk.Disk {
	l.t.Helper()
	d, err := disk.Make(l.Dir, serial, size)
	if err != nil {
		l.t.Fatal(err)
	}
	l.disks = append(l.disks, d)
	return d
}

// Plan says what a machine has.
type Plan struct {
	Name     string
	Number   int               // from 1: the last byte of its addresses
	Networks []*network.Switch // its cards, in order; on network i it has 10.78.i.NUMBER/24
	Disks    []*disk.Disk
	Modules  []string
	Watchdog bool
	Memory   int    // MiB, 0: 256
	UUID     string // of its firmware; with one it has a management network too
	// Root is a disk with a whole system, of which the machine gets a copy to start from; empty: none.
	Root string
}

// Address is a machine's address on the network of that place in its Plan.
func Address(network, number int) string { return fmt.Sprintf("10.78.%d.%d", network, number) }

// Machine makes a machine, which is off.
func (l *Lab) Machine(p Plan) *machine.Machine {
	l.t.Helper()
	s := machine.Spec{
		Name: p.Name, Kernel: l.kernel.Path, Initramfs: l.initramfs, Modules: p.Modules, MemoryMiB: p.Memory, Watchdog: p.Watchdog,
		UUID: p.UUID, Management: p.UUID != "",
	}
	for i, n := range p.Networks {
		local, peer, err := n.Plug(p.Name)
		if err != nil {
			l.t.Fatal(err)
		}
		s.Cards = append(s.Cards, machine.Card{
			Address: Address(i, p.Number) + "/24", MAC: fmt.Sprintf("52:54:00:48:%02x:%02x", i, p.Number), Local: local, Peer: peer,
		})
	}
	for _, d := range p.Disks {
		socket, err := d.Export(p.Name)
		if err != nil {
			l.t.Fatal(err)
		}
		s.Disks = append(s.Disks, machine.Disk{Serial: d.Serial, Socket: socket})
	}
	if p.Root != "" {
		s.Root = filepath.Join(l.Dir, p.Name+".root.img")
		if err := image.Copy(p.Root, s.Root); err != nil {
			l.t.Fatal(err)
		}
	}
	m := machine.New(l.Dir, s)
	l.machines = append(l.machines, m)
	return m
}

// PowerOn gives machines power and waits until all of them have booted.
func (l *Lab) PowerOn(machines ...*machine.Machine) {
	l.t.Helper()
	bound := 2 * time.Minute
	for _, m := range machines {
		if m.Spec.Root != "" {
			bound = 10 * time.Minute // a whole system has hundreds of processes to start
		}
	}
	ctx := l.Context(bound)
	results := make(chan error)
	for _, m := range machines {
		go func() { results <- m.PowerOn(ctx) }() // ends with ctx at the latest
	}
	var errs []error
	for range machines {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		l.t.Fatal(err)
	}
}

// close takes everything down; the folder stays if the test has failed.
func (l *Lab) close() {
	var errs []error
	for _, m := range l.machines {
		errs = append(errs, m.PowerOff())
	}
	for _, s := range l.networks {
		errs = append(errs, s.Close())
	}
	for _, d := range l.disks {
		errs = append(errs, d.Close())
	}
	if err := errors.Join(errs...); err != nil {
		l.t.Error(err)
	}
	if l.t.Failed() {
		l.t.Logf("consoles and logs: %s", l.Dir)
		l.t.Log(l.words())
		for _, pattern := range []string{"*.img", "init"} {
			large, _ := filepath.Glob(filepath.Join(l.Dir, pattern))
			for _, f := range large {
				_ = os.Remove(f)
			}
		}
		return
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		l.t.Error(err)
	}
}

// words are the ends of what the machines have printed.
func (l *Lab) words() string {
	var b strings.Builder
	for _, m := range l.machines {
		for _, f := range []string{m.Trouble(), m.Console(), m.Log()} {
			text, err := os.ReadFile(f)
			if err != nil || len(text) == 0 {
				continue
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			fmt.Fprintf(&b, "--- the end of %s\n%s\n", filepath.Base(f), strings.Join(lines[max(0, len(lines)-25):], "\n"))
		}
	}
	return b.String()
}
