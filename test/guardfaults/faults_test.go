package guardfaults

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/test/power"
)

// atOnce is how many machines are up at a time: they mostly wait.
const atOnce = 6

// TestFaults does one fault to one machine each, several machines at a time.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: whole machines take a minute; make test runs them")
	}
	cases := []struct {
		name string
		o    options
		do   func(*machine)
	}{
		{"daemon killed for good", options{}, func(m *machine) { daemonGone(m, unix.SIGKILL) }},
		{"daemon stopped", options{}, func(m *machine) { daemonGone(m, unix.SIGSTOP) }},
		{"what passes", options{ownRoot: true}, whatPasses},
		{"guard killed", options{}, guardKilled},
		{"guard killed, and its successor", options{}, guardSucceeded},
		{"guard stopped", options{}, func(m *machine) { starved(m, m.guard, unix.SIGSTOP) }},
		{"both killed", options{}, func(m *machine) { starved(m, m.daemon, unix.SIGKILL); starved(m, m.guard, unix.SIGKILL) }},
		{"both stopped", options{}, func(m *machine) { starved(m, m.daemon, unix.SIGSTOP); starved(m, m.guard, unix.SIGSTOP) }},
		{"quorum disk hangs", options{stuckQuorum: true}, quorumHangs},
		{"everything hangs", options{ownRoot: true, stuckQuorum: true}, everythingHangs},
	}
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, c := range cases {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(c.name, func(t *testing.T) {
				if c.o != (options{}) && os.Geteuid() != 0 {
					t.Skip("not root: file systems of our own are root's to mount; run as root")
				}
				c.do(newMachine(t, c.o))
			})
		})
	}
	all.Wait()
}

// daemonGone: without its daemon a guard goes on for as long as it was permitted
// to, and not longer.
func daemonGone(m *machine, how unix.Signal) {
	begun := now(m.t)
	m.daemon.signal(m.t, how)
	m.bitten(begun, permit-2*time.Second-slack, permit+slack)
}

// starved: a guard that does not run feeds nothing more.
func starved(m *machine, p *process, how unix.Signal) {
	begun := now(m.t)
	p.signal(m.t, how)
	if p == m.guard {
		m.bitten(begun, -slack, slack)
	}
}

func guardKilled(m *machine) { starved(m, m.guard, unix.SIGKILL) }

// guardSucceeded: the next guard of a boot in which one died bound resets the
// machine, before the watchdogs do.
func guardSucceeded(m *machine) {
	m.guard.signal(m.t, unix.SIGKILL)
	m.startGuard()
	m.await("the reset", func() bool { return m.lost() != nil })
	if e := m.lost(); e.What != power.ResetRequested {
		m.t.Errorf("%s %s; want a reset at once", e.What, e.Text)
	}
}

// quorumHangs: a node that is alone in its cluster has the consent of all others to
// outlive its disk, as long as its daemon says so; the disk's worker hangs in the
// kernel and nobody else.
func quorumHangs(m *machine) {
	m.hang()
	m.goesOn(within, "the quorum disk hangs, all members consent")
	begun := now(m.t)
	m.daemon.signal(m.t, unix.SIGSTOP)
	m.bitten(begun, -slack, within)
}

// everythingHangs: quorum disk and root file system hang, the daemon is killed,
// and the guard, which needs none of them, ends the machine when its lease is over.
func everythingHangs(m *machine) {
	m.root.hang()
	m.hang()
	begun := now(m.t)
	must(m.t, m.daemon.cmd.Process.Signal(unix.SIGKILL)) // not waited for: the hang holds a thread
	m.bitten(begun, -slack, within)
}

// whatPasses are the faults that a machine survives, one after the other, and at the
// end one by which it is reset although nothing can be read from its root any more.
func whatPasses(m *machine) {
	t := m.t
	step := func(name string, do func()) {
		began := time.Now()
		do()
		m.goesOn(0, name)
		t.Logf("%s: %v", name, time.Since(began).Round(10*time.Millisecond))
	}
	const long = timeout + 2*time.Second // longer than any watchdog waits
	step("daemon killed and started again", func() {
		m.daemon.signal(t, unix.SIGKILL)
		m.goesOn(long, "the daemon is gone")
		m.startDaemon()
		m.await("the new daemon goes on with the membership", m.member)
	})
	step("guard stopped for less than its watchdogs wait", func() {
		m.guard.signal(t, unix.SIGSTOP)
		m.goesOn(timeout/2, "the guard is stopped")
		m.guard.signal(t, unix.SIGCONT)
	})
	step("daemon, guard, and both starved", func() { starvedByCgroup(m, long) })
	step("daemon, guard, and both run now and then", func() { starvedInPieces(m, long) })
	step("disk full", func() {
		fill(m)
		m.goesOn(long, "the root file system is full")
	})
	step("root file system hangs", func() {
		evict(m)
		m.root.hang()
		m.goesOn(long+2*time.Second, "the root file system hangs")
	})
	// The daemon would take its connection back. A stop may wait for the one thread that
	// the hang holds while the others run on; a kill waits for none, and is not waited for.
	must(t, m.daemon.cmd.Process.Signal(unix.SIGKILL))
	resetByOrder(m)
}

// resetByOrder has the guard reset the machine: code that it never ran before, while
// its program's file cannot be read.
func resetByOrder(m *machine) {
	m.t.Helper()
	c, err := guardwire.Dial(filepath.Join(m.path("run"), "guard.sock"))
	must(m.t, err)
	defer c.Close()
	begun := now(m.t)
	_, err = c.Send(&guardwire.Reset{Why: "the test's last step"})
	must(m.t, err)
	m.await("the reset", func() bool { return m.lost() != nil })
	if e := m.lost(); e.What != power.ResetRequested || time.Duration(e.At-begun) > timeout/2 {
		m.t.Errorf("%s %s %v after the order; want a reset at once", e.What, e.Text, time.Duration(e.At-begun))
	}
}

// fill takes what is left of the root file system, down to the last block.
func fill(m *machine) {
	m.t.Helper()
	f, err := os.Create(filepath.Join("/proc", pid(m.guard), "root/var/lib/holdfast/ballast"))
	must(m.t, err)
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Sync(); err != nil {
		m.t.Log(err)
	}
}

// evict drops from the page cache whatever of the programs no memory is locked on.
func evict(m *machine) {
	m.t.Helper()
	f, err := os.Open(filepath.Join("/proc", pid(m.guard), "root/bin/holdfast-guard"))
	must(m.t, err)
	defer f.Close()
	must(m.t, f.Sync())
	must(m.t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}
