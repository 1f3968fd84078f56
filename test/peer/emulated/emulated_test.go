package emulated_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/peer/pacemaker"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := lab.Sweep(); err != nil {
		fmt.Fprintln(os.Stderr, "emulated:", err)
	}
	os.Exit(m.Run())
}

// figures are what one manager took.
type figures struct{ there, back, kill time.Duration }

// manager is one of the two.
type manager struct {
	raise func(b *bed)
	move  func(b *bed, to *machine.Machine) error
}

// TestPeersOnMachines puts both managers up in turn, on fresh machines, with the same
// watchdog card of 5 s, moves their service there and back, and takes the power from the
// machine that runs it.
func TestPeersOnMachines(t *testing.T) {
	if os.Getenv("HOLDFAST_PEERS") != "machines" {
		t.Skip("boots whole Debian machines under emulation, twice: make peers-check runs it (HOLDFAST_PEERS=machines)")
	}
	got := map[string]figures{}
	for name, m := range map[string]manager{"Pacemaker": {raisePacemaker, movePacemaker}, "Holdfast": {raiseHoldfast, moveHoldfast}} {
		if !t.Run(name, func(t *testing.T) { got[name] = play(t, m) }) {
			t.FailNow()
		}
	}
	theirs, ours := got["Pacemaker"], got["Holdfast"]
	t.Logf("kill: Pacemaker %.1f s, Holdfast %.1f s; move: Pacemaker %.1f and %.1f s, Holdfast %.1f and %.1f s",
		theirs.kill.Seconds(), ours.kill.Seconds(), theirs.there.Seconds(), theirs.back.Seconds(), ours.there.Seconds(), ours.back.Seconds())
	if ours.kill >= theirs.kill {
		t.Errorf("Holdfast took %v after a loss of power, Pacemaker %v", ours.kill, theirs.kill)
	}
	if ours.there+ours.back >= theirs.there+theirs.back {
		t.Errorf("Holdfast took %v and %v for moves, Pacemaker %v and %v", ours.there, ours.back, theirs.there, theirs.back)
	}
}

func play(t *testing.T, m manager) (f figures) {
	b := open(t)
	first, second := b.nodes[0], b.nodes[1]
	m.raise(b)
	b.await("the service runs on n1", func(ctx context.Context) error { return runs(ctx, first) })
	b.rest()
	f.there = b.took(second, func() error { return m.move(b, second) })
	b.rest()
	f.back = b.took(first, func() error { return m.move(b, first) })
	b.rest()
	f.kill = b.took(second, first.PowerOff)
	t.Logf("moved in %v and %v; taken over %v after the loss of power", f.there, f.back, f.kill)
	return f
}

// run runs a command of a manager on the second machine.
func (b *bed) run(args ...string) error {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	_, err := b.nodes[1].Run(ctx, args...)
	return err
}

func peer() pacemaker.Setting {
	return pacemaker.Setting{Setting: "default", Token: 3 * time.Second, Watchdog: 5 * time.Second}
}

// raisePacemaker starts layer by layer, and again where sbd has given up: under
// emulation all at once starve each other.
func raisePacemaker(b *bed) {
	p := pacemaker.Place{Names: names(), Network: "10.78", Address: address, Card: card, Quorum: quorumPath}
	for _, m := range b.nodes {
		for path, text := range peer().Files(p, pacemaker.SBDFence(p)) {
			b.put(m, "/"+path, text)
		}
		b.must(m, "chown -R hacluster:haclient /var/lib/pacemaker && chmod 600 /var/lib/pacemaker/cib/* && systemctl daemon-reload")
	}
	b.must(b.nodes[0], strings.Join(peer().Marking(p), " "))
	for _, unit := range []string{"corosync", "pacemaker"} {
		started := make(chan error)
		for _, m := range b.nodes {
			go func() { // ends with the command, whose time is bounded
				ctx, cancel := context.WithTimeout(b.t.Context(), patience)
				defer cancel()
				_, err := m.Run(ctx, "/bin/sh", "-c", "for i in 1 2 3; do systemctl start "+unit+" && exit 0; systemctl reset-failed; done; journalctl --no-pager -n 30; exit 1")
				started <- err
			}()
		}
		if err := errors.Join(<-started, <-started); err != nil {
			b.t.Fatal(err)
		}
	}
	b.await("Pacemaker has two nodes and a fence", func(ctx context.Context) error {
		out, err := b.nodes[0].Run(ctx, "/usr/sbin/crm_mon", "-1", "-r")
		if err == nil && (!strings.Contains(out, "Online: [ n1 n2 ]") || strings.Count(out, "Started") < 3) {
			err = errors.New(out)
		}
		return err
	})
}

func movePacemaker(b *bed, to *machine.Machine) error {
	return b.run("/usr/sbin/crm_resource", "--move", "-r", "service", "-N", to.Name)
}

// Where Holdfast has its files.
const (
	holdfast = "/programs/holdfast"
	etc      = "/etc/holdfast"
	state    = "/var/lib/holdfast"
	holder   = "/run/holder.sock"
)

// within is what Holdfast promises: as in the fault matrix, for watchdogs that were
// measured on such machines.
const within = 15 * time.Second

func raiseHoldfast(b *bed) {
	join := ""
	for i, m := range b.nodes {
		b.measured(m)
		words := "join " + join
		if i == 0 {
			words = "init --cluster check --failover-within " + within.String()
		}
		b.must(m, fmt.Sprintf("%s --config %s/node.yaml %s --name %s --etc %[2]s --state %[5]s --run /run/holdfast --cgroup /sys/fs/cgroup/holdfast/services "+
			"--pause-bound 0s --holder %[6]s --link 10.78.0.%[7]d --link 10.78.1.%[7]d --disk %[8]s --watchdog /dev/watchdog0:5s --watchdog /dev/watchdog1:5s",
			holdfast, etc, words, m.Name, state, holder, i+1, quorumPath))
		b.start(m)
		b.members(b.nodes[:i+1])
		if i == 0 {
			var token api.TokenReply
			if text := b.holdfast(m, "token --json"); json.Unmarshal([]byte(text), &token) != nil {
				b.t.Fatalf("no token in %s", text)
			}
			join = token.Token
		}
	}
	b.put(b.nodes[0], "/root/services.yaml", fmt.Sprintf(`cluster: {name: check, failover_within: %s}
services:
  service:
    prefer: [n1]
    stack:
      - ocf: heartbeat:Dummy
        with: {state: %s}
      - ip: {address: %s/24, interface: %s}
`, within, stateFile, address, card))
	b.holdfast(b.nodes[0], "apply --yes -f /root/services.yaml")
}

// measured gives a machine the records of its watchdogs that the fault matrix has made,
// on the same emulated machine.
func (b *bed) measured(m *machine.Machine) {
	b.t.Helper()
	for _, dog := range []string{"watchdog0", "watchdog1"} {
		found, _ := filepath.Glob(filepath.Join(b.Cache().Dir, "measured-*", m.Name, dog+".json"))
		if len(found) == 0 {
			b.t.Fatal("the watchdogs of these machines were never measured: make vm RUN=TestMatrix does it, once")
		}
		text, err := os.ReadFile(found[len(found)-1])
		if err != nil {
			b.t.Fatal(err)
		}
		b.put(m, state+"/watchdogs/"+dog+".json", string(text))
	}
	b.must(m, "mkdir -p "+etc+" /run/holdfast")
}

func (b *bed) holdfast(m *machine.Machine, words string) string {
	b.t.Helper()
	return b.must(m, holdfast+" --config "+etc+"/node.yaml "+words)
}

// start starts the second holder of the watchdogs, the guard and the daemon.
func (b *bed) start(m *machine.Machine) {
	b.t.Helper()
	for _, p := range [][]string{
		{"holder", "/programs/demo", "holder", "-socket", holder},
		{"guard", "/programs/holdfast-guard", "-config", etc + "/guard.conf"},
		{"daemon", "/programs/holdfastd", "-config", etc + "/node.yaml"},
	} {
		if err := m.Start(b.t.Context(), p[0], p[1:]...); err != nil {
			b.t.Fatal(err)
		}
		if p[0] == "holder" {
			b.await("the second holder listens", func(ctx context.Context) error {
				sockets, err := m.Read(ctx, "/proc/net/unix")
				if err == nil && !strings.Contains(sockets, holder) {
					err = errors.New("no socket " + holder)
				}
				return err
			})
		}
	}
}

// members waits until all nodes know each other.
func (b *bed) members(nodes []*machine.Machine) {
	b.t.Helper()
	for _, m := range nodes {
		b.await(m.Name+" knows all members", func(ctx context.Context) error {
			text, err := m.Run(ctx, holdfast, "--config", etc+"/node.yaml", "status", "--json")
			var st api.Status
			if bad := json.Unmarshal([]byte(text), &st); bad != nil {
				return errors.Join(err, bad)
			}
			in := 0
			for i := range st.Nodes {
				if st.Nodes[i].Phase == "member" {
					in++
				}
			}
			if in < len(nodes) {
				return fmt.Errorf("%d members; %s is at stage %q and waits for %q", in, m.Name, st.Self.Stage, st.Self.Waiting)
			}
			return nil
		})
	}
}

func moveHoldfast(b *bed, to *machine.Machine) error {
	return b.run(holdfast, "--config", etc+"/node.yaml", "service", "move", "service", "--to", to.Name)
}
