package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/test/vm/chassis"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// dogs are the devices of a node.
func dogs() []string { return []string{"watchdog0", "watchdog1"} }

// measure gives every node a record of each of its watchdogs, made by the command of the administrator on that node, with four
// real resets each. A record counts for the same node on the same virtual hardware, kernel and module, and so it is kept with
// the images: it is measured once.
func (f *Full) measure(ctx context.Context) error {
	version, err := exec.CommandContext(ctx, "qemu-system-x86_64", "--version").Output()
	if err != nil {
		return err
	}
	hash := sha256.Sum256(append(version, filepath.Base(f.Kernel())+Timeout.String()...))
	results := make(chan error)
	for _, n := range f.Nodes {
		go func() { // ends with ctx
			folder := filepath.Join(f.Cache().Dir, "measured-"+hex.EncodeToString(hash[:8]), n.Name)
			results <- n.measured(ctx, folder)
		}()
	}
	var errs []error
	for range f.Nodes {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// measured puts the node's records where Holdfast looks for them.
func (n *Node) measured(ctx context.Context, folder string) error {
	if err := n.mountOnce(ctx); err != nil {
		return err
	}
	for _, d := range dogs() {
		name := filepath.Join(folder, d+".json")
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			if text, err = n.qualify(ctx, d); err != nil {
				return fmt.Errorf("%s of %s: %w", d, n.Name, err)
			}
			err = keep(name, text)
		}
		if err == nil {
			err = n.Write(ctx, own+"/state/watchdogs/"+d+".json", string(text))
		}
		if err != nil {
			return err
		}
	}
	return n.keepSecret(ctx)
}

// keepSecret puts the password of the controllers where the node's configuration says.
func (n *Node) keepSecret(ctx context.Context) error {
	_, err := n.Ask(ctx, wire.Request{Op: wire.Write, Args: []string{etcFile("bmc.secret")}, Data: []byte(chassis.Password + "\n"), Mode: 0o600})
	return err
}

func keep(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name+".half", text, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".half", name)
}

// qualify gives the command again after every boot, until there is a record.
func (n *Node) qualify(ctx context.Context, device string) ([]byte, error) {
	config := fmt.Sprintf("%s/measure/node.yaml", own)
	for range 10 {
		boots := n.Boots()
		if err := n.mountOnce(ctx); err != nil {
			return nil, err
		}
		// The command keeps its runs there; a machine that is no node yet has no other place.
		if _, err := n.Ask(ctx, wire.Request{Op: wire.Mkdir, Args: []string{own + "/measure"}}); err != nil {
			return nil, err
		}
		_, _ = n.Ask(ctx, wire.Request{Op: wire.Symlink, Args: []string{own + "/measure", "/var/lib/holdfast"}}) // it may be there
		out, err := n.Ask(ctx, wire.Request{Op: wire.Run, Timeout: 2 * time.Minute, Args: []string{
			"/usr/bin/holdfast", "--config", config, "watchdog", "qualify", "/dev/" + device, "--node", n.Name, "--timeout", Timeout.String(),
			"--beacons", own + "/beacons-" + device, "--yes", "--json",
		}})
		switch {
		case err == nil && out.Code == 0:
			text, err := n.Read(ctx, own+"/measure/watchdogs/"+device+".json")
			return []byte(text), err
		case err == nil:
			return nil, fmt.Errorf("exit status %d: %s", out.Code, out.Output)
		}
		if _, bad := n.AwaitBoot(ctx, boots+1); bad != nil {
			return nil, errors.Join(err, bad)
		}
	}
	return nil, errors.New("ten resets, and no record")
}

// mountOnce mounts the node's own disk if that is not done since its boot.
func (n *Node) mountOnce(ctx context.Context) error {
	text, err := n.Read(ctx, "/proc/mounts")
	if err != nil || strings.Contains(text, " "+own+" ") {
		return err
	}
	return n.mount(ctx)
}

// Counted says whether a node's daemon counts with what was measured of its watchdogs, by the word of "holdfast timing": with
// the longer of the two times, and not with twice the timeout and a second.
func (n *Node) Counted(ctx context.Context) error {
	var most time.Duration
	for _, d := range dogs() {
		text, err := n.Read(ctx, own+"/state/watchdogs/"+d+".json")
		if err != nil {
			return err
		}
		var q watchdog.Qualification
		if err := json.Unmarshal([]byte(text), &q); err != nil {
			return err
		}
		most = max(most, q.TMax)
	}
	text, err := n.Holdfast(ctx, "timing", "--json")
	if err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	var t api.Timing
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	at := slices.IndexFunc(t.Rows, func(r api.Row) bool { return r.Name == "T_max" })
	if at < 0 || (t.Rows[at].Value.Duration()-most).Abs() > time.Microsecond {
		return fmt.Errorf("%s was measured at %v, and its table of times is %+v", n.Name, most, t.Rows)
	}
	return nil
}
