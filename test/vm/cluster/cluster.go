package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/vm/chassis"
	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// What the cluster promises, and what its watchdogs are set to. The watchdogs are not qualified, so each counts for twice its
// timeout and a second. Both numbers are large because this machine emulates three others and may have more to do: one that
// is not scheduled for as long as a watchdog takes is reset, and one that is not for 17 s loses its lease.
const (
	Within  = 30 * time.Second
	Timeout = 5 * time.Second
)

// Sizes of the disks, in bytes.
const (
	quorumSize = 80 << 20
	dataSize   = 8 << 20
	ownSize    = 32 << 20
)

// service is the name of the only service.
const service = "witness"

// Cluster is nodes and what they share.
type Cluster struct {
	*lab.Lab
	Quorum, Data *disk.Disk
	Links        [2]*network.Switch
	Extra        []*network.Switch // as Extra names them
	Nodes        []*Node
	within       time.Duration // what it promises
	Fencing      string        // the part of the configuration with the ways, for Apply; empty: none
	Controllers  []*chassis.Controller
}

// Node is a machine with Holdfast on it.
type Node struct {
	*machine.Machine
	Number  int
	boot    func(context.Context, *Node) error
	timeout time.Duration // of its watchdogs
	options []string      // of init and join, beside those that all nodes have
}

// Extra is what a cluster has beside what every one has.
type Extra struct {
	Records  []cpio.Record
	Modules  []string // in the image; Load are those that a node loads at its boot
	Load     []string
	Networks []string // a card each in every node, after those of the links
	// Boot is called at every boot of a node, before Holdfast is started.
	Boot   func(context.Context, *Node) error
	Memory int // of a node, in MiB; 0: as of every machine
	// Programs are those of this machine that the nodes have beside blkid.
	Programs []string
	// Controlled nodes have a management controller each, which speaks Redfish.
	Controlled bool
	// Times are how many times as long everything takes; 0 is once. More machines
	// take more of this one's processor.
	Times int
}

// Open boots nodes, makes a cluster of them with the commands that an administrator types, and waits until its service runs.
func Open(t testing.TB, nodes int) *Cluster {
	t.Helper()
	c := OpenWith(t, nodes, Extra{})
	ctx := c.Context(2 * time.Minute)
	if err := c.Apply(ctx, "- exec: {run: [/init, witness, -disk, /dev/disk/by-id/virtio-DATA1, -depth, \"2\", -pace, 20ms]}"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AwaitOwner(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// OpenWith boots nodes and makes a cluster of them, without a service.
func OpenWith(t testing.TB, nodes int, x Extra) *Cluster {
	t.Helper()
	content, err := contentOf(t, x)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{within: time.Duration(max(1, x.Times)) * Within, Lab: lab.Open(t, content)}
	c.Quorum, c.Data = c.Disk("QUORUM1", quorumSize), c.Disk("DATA1", dataSize)
	c.Links = [2]*network.Switch{c.Network("hb0"), c.Network("hb1")}
	networks := c.Links[:]
	for _, name := range x.Networks {
		networks = append(networks, c.Network(name))
	}
	c.Extra = networks[len(c.Links):]
	for i := 1; i <= nodes; i++ {
		c.addNode(t, i, networks, x)
	}
	ctx := c.Context(4 * time.Minute)
	if err := c.powerOn(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.form(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// contentOf is the initial file system: the programs of Holdfast, and those that they need.
func contentOf(t testing.TB, x Extra) (image.Content, error) {
	t.Helper()
	files, dir := map[string]string{}, t.TempDir()
	for _, name := range []string{"cmd/holdfast", "cmd/holdfastd", "cmd/holdfast-guard", "test/demo"} {
		program, err := image.Program(t.Context(), dir, name)
		if err != nil {
			return image.Content{}, err
		}
		files["usr/bin/"+filepath.Base(name)] = program
	}
	tools, err := image.HostPrograms(append([]string{"blkid"}, x.Programs...)...)
	return image.Content{Files: files, Records: image.Merge(tools, x.Records), Modules: append([]string{"ext4", "crc32c_generic"}, x.Modules...)}, err
}

// addNode makes node number i, which is off.
func (c *Cluster) addNode(t testing.TB, i int, networks []*network.Switch, x Extra) {
	t.Helper()
	own := c.Disk(fmt.Sprintf("OWN%d", i), ownSize)
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", own.Path()).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4 (package e2fsprogs; test/setup.sh installs it): %v: %s", err, out)
	}
	plan := lab.Plan{
		Name: fmt.Sprintf("n%d", i), Number: i, Watchdog: true, Memory: x.Memory, Networks: networks,
		Disks: []*disk.Disk{c.Quorum, c.Data, own}, Modules: append([]string{"crc32c_generic", "ext4", "i6300esb", "softdog"}, x.Load...),
	}
	if x.Controlled {
		plan.UUID = firmware(i)
	}
	n := &Node{
		Number: i, boot: x.Boot, timeout: time.Duration(max(1, x.Times)) * Timeout, options: []string{"--disk", "/dev/disk/by-id/virtio-QUORUM1"},
		Machine: c.Machine(plan),
	}
	if x.Controlled {
		k := chassis.Open(t, chassis.Redfish, n.Machine)
		n.options = append(n.options, "--bmc", k.URL, "--bmc-password", etcFile("bmc.secret"))
		c.Controllers = append(c.Controllers, k)
	}
	c.Nodes = append(c.Nodes, n)
}

// firmware is the UUID of node number i's firmware, where it has one.
func firmware(i int) string { return fmt.Sprintf("48464e4f-4445-4000-8000-00000000000%d", i) }

// powerOn gives all nodes power and waits until they have booted; those with a
// controller get its password.
func (c *Cluster) powerOn(ctx context.Context) error {
	if len(c.Controllers) == 0 {
		var all []*machine.Machine
		for _, n := range c.Nodes {
			all = append(all, n.Machine)
		}
		c.PowerOn(all...)
		return nil
	}
	for _, k := range c.Controllers {
		k.Power(true)
	}
	for _, n := range c.Nodes {
		if err := Await(ctx, n.Name+" boots", func() error { return booted(n) }); err != nil {
			return err
		}
		if err := n.mountOnce(ctx); err != nil {
			return err
		}
		if err := n.keepSecret(ctx); err != nil {
			return err
		}
	}
	return nil
}

// form makes the cluster.
func (c *Cluster) form(ctx context.Context) error {
	for i, n := range c.Nodes {
		if err := n.mountOnce(ctx); err != nil {
			return err
		}
		args := []string{"init", "--cluster", "rig", "--failover-within", c.within.String()}
		if i > 0 {
			text, err := c.Nodes[0].Holdfast(ctx, "token", "--json")
			if err != nil {
				return err
			}
			var token api.TokenReply
			if err := json.Unmarshal([]byte(text), &token); err != nil {
				return fmt.Errorf("holdfast token --json: %w: %s", err, text)
			}
			args = []string{"join", token.Token}
		}
		if out, err := n.Holdfast(ctx, append(args, n.flags()...)...); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if err := n.start(ctx); err != nil {
			return err
		}
		if err := c.AwaitMembers(ctx, c.Nodes[:i+1]...); err != nil {
			return err
		}
	}
	return nil
}

// Apply gives the cluster its service, whose stack is lines of YAML.
func (c *Cluster) Apply(ctx context.Context, stack ...string) error {
	text := fmt.Sprintf("  %s:\n    stack:\n", service)
	for _, line := range stack {
		text += "      " + line + "\n"
	}
	return c.ApplyServices(ctx, text)
}

// ApplyServices gives the cluster services: YAML, as it stands below "services:".
func (c *Cluster) ApplyServices(ctx context.Context, services string) error {
	// Nodes that are made to fail again and again are not to be left out for it.
	text := fmt.Sprintf("cluster:\n  name: rig\n  failover_within: %s\n  quarantine: off\nservices:\n", c.within)
	return c.configure(ctx, text+services+c.Fencing)
}

// configure gives the cluster its configuration.
func (c *Cluster) configure(ctx context.Context, text string) error {
	err := c.Nodes[0].Write(ctx, own+"/services.yaml", text)
	if err == nil {
		var out string
		if out, err = c.Nodes[0].Holdfast(ctx, "apply", "--yes", "-f", own+"/services.yaml"); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	return err
}

// own is where a node's own disk is mounted.
const own = "/own"

// mount mounts the node's own disk, and does what else belongs to a boot.
func (n *Node) mount(ctx context.Context) error {
	for _, r := range []wire.Request{
		{Op: wire.Mkdir, Args: []string{own, "/run/holdfast"}},
		{Op: wire.Mount, Args: []string{"ext4", own, fmt.Sprintf("/dev/disk/by-id/virtio-OWN%d", n.Number)}},
	} {
		if _, err := n.Ask(ctx, r); err != nil {
			return err
		}
	}
	if n.boot == nil {
		return nil
	}
	return n.boot(ctx, n)
}

// flags are what a node says of itself.
func (n *Node) flags() []string {
	return append([]string{
		"--name", n.Name, "--etc", own + "/etc", "--state", own + "/state",
		"--run", "/run/holdfast", "--cgroup", "/sys/fs/cgroup/holdfast/services", "--pause-bound", "0s",
		"--holder", holder, "--link", lab.Address(0, n.Number), "--link", lab.Address(1, n.Number),
		"--watchdog", "/dev/watchdog0:" + n.timeout.String(), "--watchdog", "/dev/watchdog1:" + n.timeout.String(),
	}, n.options...)
}

// holder is the socket of the process that has the watchdogs' descriptors as well, which a service manager is elsewhere.
const holder = "/run/holder.sock"

// start starts guard and daemon, and waits until the daemon answers.
func (n *Node) start(ctx context.Context) error {
	if err := n.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return AwaitWord(ctx, n.Name+": holdfastd answers", func() error {
		_, err := n.Status(ctx)
		return err
	})
}

// begin starts the second holder, guard and daemon.
func (n *Node) begin(ctx context.Context) error {
	if err := n.Start(ctx, "holder", "/usr/bin/demo", "holder", "-socket", holder); err != nil {
		return err
	}
	if err := Await(ctx, "the second holder listens", func() error {
		sockets, err := n.Read(ctx, "/proc/net/unix")
		if err == nil && !strings.Contains(sockets, holder) {
			err = errors.New("no socket " + holder)
		}
		return err
	}); err != nil {
		return err
	}
	return errors.Join(n.startGuard(ctx), n.StartDaemon(ctx))
}

func (n *Node) startGuard(ctx context.Context) error {
	return n.Start(ctx, "guard", "/usr/bin/holdfast-guard", "-config", own+"/etc/guard.conf")
}

// StartDaemon starts holdfastd, which is not running.
func (n *Node) StartDaemon(ctx context.Context) error {
	return n.Start(ctx, "daemon", "/usr/bin/holdfastd", "-config", own+"/etc/node.yaml")
}

// Boot waits for the node's boot of that number and starts Holdfast there.
func (n *Node) Boot(ctx context.Context, number int) error {
	_, err := n.AwaitBoot(ctx, number)
	if err == nil {
		err = n.mount(ctx)
	}
	if err == nil {
		err = n.start(ctx)
	}
	return err
}

// Holdfast runs the command holdfast on the node and returns what it prints.
func (n *Node) Holdfast(ctx context.Context, args ...string) (string, error) {
	return n.Run(ctx, append([]string{"/usr/bin/holdfast", "--config", own + "/etc/node.yaml"}, args...)...)
}

// Status asks the node's daemon.
func (n *Node) Status(ctx context.Context) (*api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := n.Holdfast(ctx, "status", "--json")
	// The status command ends with a status of its own where something is wrong.
	var st api.Status
	if bad := json.Unmarshal([]byte(text), &st); bad != nil {
		return nil, errors.Join(err, bad)
	}
	return &st, nil
}

// Return waits until the node boots once more, after a boot of that ID, and starts Holdfast there. It may lose its power
// and be given it again on the way.
func (n *Node) Return(ctx context.Context, last string) error {
	err := Await(ctx, n.Name+" boots again", func() error {
		if b := n.LastBoot(); b.ID == "" || b.ID == last {
			return errors.New("it has not")
		}
		return nil
	})
	if err == nil {
		err = n.mount(ctx)
	}
	if err == nil {
		err = n.start(ctx)
	}
	return err
}

// AwaitMembers waits until each of the nodes knows all of them as members.
func (c *Cluster) AwaitMembers(ctx context.Context, nodes ...*Node) error {
	for _, n := range nodes {
		if err := AwaitWord(ctx, n.Name+" sees every node as a member", func() error {
			st, err := n.Status(ctx)
			if err != nil {
				return err
			}
			phases := map[string]string{}
			for _, v := range st.Nodes {
				phases[v.Name] = v.Phase
			}
			for _, m := range nodes {
				if phases[m.Name] != "member" {
					return fmt.Errorf("%s is %q; %s is at stage %q and waits for %q", m.Name, phases[m.Name], n.Name, st.Self.Stage, st.Self.Waiting)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// AwaitOwner waits until the service runs, by the word of a node that runs it itself.
func (c *Cluster) AwaitOwner(ctx context.Context) (owner *Node, err error) {
	err = AwaitWord(ctx, "the service runs", func() error {
		var words []string
		for _, n := range c.Nodes {
			st, err := n.Status(ctx)
			if err != nil {
				words = append(words, err.Error())
				continue
			}
			for _, s := range st.Services {
				words = append(words, fmt.Sprintf("%s says %s on %s", n.Name, s.State, s.Node))
				if s.State == "running" && s.Node == n.Name {
					owner = n
					return nil
				}
			}
		}
		return errors.New(strings.Join(words, "; "))
	})
	return owner, err
}

// Await polls until met returns nil; its last error says what was missing.
func Await(ctx context.Context, what string, met func() error) error {
	return await(ctx, what, 200*time.Millisecond, met)
}

// AwaitWord is Await for what a node is asked for: every question starts a program there, and one after the other they would be all
// that an emulated processor has time for.
func AwaitWord(ctx context.Context, what string, met func() error) error {
	return await(ctx, what, time.Second, met)
}

func await(ctx context.Context, what string, rest time.Duration, met func() error) error {
	for {
		err := met()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time: %w", what, err)
		}
	}
}
