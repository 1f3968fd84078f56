package packaging_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// TestMachines leads the packages through the life of a cluster on two emulated
// servers: Debian with systemd on real kernels, a watchdog card that resets, and a
// quorum disk that both see. A client on a third machine writes all the while, and
// at the end everything that was confirmed to it has to be there.
func TestMachines(t *testing.T) {
	if os.Getenv("HOLDFAST_VM") != "all" {
		t.Skip("boots two whole Debian machines under emulation: make package-test runs it (HOLDFAST_VM=all)")
	}
	old, newer := versions(t)
	w := openTown(t, old, newer)
	defer w.lastWords()
	alpha, beta := w.nodes[0], w.nodes[1]
	w.step("the machines answer")
	for _, s := range w.nodes {
		w.booted(s)
	}
	w.step("install")
	w.installed(alpha, "dpkg -i /packages/old/holdfast_0.9.0-1_amd64.deb")
	w.installed(beta, "apt-get install --yes --no-install-recommends /packages/old/holdfast_0.9.0-1_amd64.deb")
	w.step("init and join")
	w.formed()
	w.step("a service")
	w.serving()
	w.roles(alpha)
	w.step("alpha's kernel dies")
	w.failedOver(alpha, beta)
	w.step("upgrade of beta, which runs the service")
	w.upgraded(beta)
	w.step("two versions beside each other")
	w.must(beta, "holdfast service move orders --to alpha --wait 10m")
	w.step("upgrade of alpha, which runs the service")
	w.upgraded(alpha)
	w.step("reboot of alpha, which runs the service")
	w.rebooted(alpha, beta)
	w.step("the whole cluster is stopped and started")
	w.stopped()
	w.step("the client reads everything back")
	w.verified()
	w.step("removal")
	w.removed()
	w.step("done")
}

// versions builds packages of two versions. Whoever works on this test keeps them,
// in the folder that HOLDFAST_PACKAGES names.
func versions(t *testing.T) (old, newer string) {
	t.Helper()
	dir := os.Getenv("HOLDFAST_PACKAGES")
	if dir == "" {
		dir = t.TempDir()
	}
	old, newer = filepath.Join(dir, "old"), filepath.Join(dir, "newer")
	for _, v := range []struct{ dir, version string }{{old, "0.9.0"}, {newer, "0.9.1"}} {
		if _, err := os.Stat(filepath.Join(v.dir, "SHA256SUMS")); err != nil {
			script(t, []string{"KINDS=deb", "COMPRESSION=none", "OUT=" + v.dir, "SOURCE_DATE_EPOCH=1763800000", "PACKAGE_VERSION=" + v.version}, "packaging/build.sh", "amd64")
		}
	}
	return old, newer
}

// installed installs a package, which starts and enables nothing.
func (w *town) installed(s *server, command string) {
	w.t.Helper()
	w.must(s, command)
	for _, unit := range []string{"holdfast", "holdfastd", "holdfast-guard"} {
		if out, _ := s.sh(w.t.Context(), "systemctl is-active "+unit+"; systemctl is-enabled "+unit); out != "inactive\ndisabled" {
			w.t.Errorf("%s: %s after the installation: %q", s.Name, unit, out)
		}
	}
	w.must(s, "cp /packages/demo /usr/local/bin/demo && getent group holdfast-read holdfast-operate holdfast-admin")
	w.watchdogs(s, "inactive")
	w.probe(s)
}

// formed makes a cluster of the two.
func (w *town) formed() {
	w.t.Helper()
	alpha, beta := w.nodes[0], w.nodes[1]
	options := func(s *server) string {
		return fmt.Sprintf(" --link 10.78.0.%d --link 10.78.1.%[1]d --pause-bound 0s --watchdog /dev/watchdog0:%s --watchdog /dev/watchdog1:%[2]s", s.number, bite)
	}
	w.t.Log(w.must(alpha, "holdfast init --cluster town --failover-within "+within.String()+" --disk "+quorumPath+options(alpha)))
	w.watchdogs(alpha, "inactive")
	w.must(alpha, "systemctl enable --now holdfast")
	w.members(alpha)
	var token struct{ Token string }
	if text := w.must(alpha, "holdfast token --json"); json.Unmarshal([]byte(text), &token) != nil || token.Token == "" {
		w.t.Fatalf("no token in %s", text)
	}
	w.t.Log(w.must(beta, "holdfast join "+token.Token+options(beta)+" --disk "+quorumPath))
	w.must(beta, "systemctl enable --now holdfast")
	w.members(w.nodes...)
}

// members waits until the servers know each other as members, with armed watchdogs
// that systemd holds as well.
func (w *town) members(servers ...*server) {
	w.t.Helper()
	for _, s := range servers {
		w.await(s.Name+" knows all members", func() error {
			st, err := s.status(w.t.Context())
			if err != nil {
				return err
			}
			in := 0
			for i := range st.Nodes {
				if st.Nodes[i].Phase == "member" {
					in++
				}
			}
			if in != len(servers) || st.Self.Holder != "systemd" || st.Self.Guard != "connected" {
				return fmt.Errorf("%d members, stage %q, waits for %q, second holder %q, guard %q", in, st.Self.Stage, st.Self.Waiting, st.Self.Holder, st.Self.Guard)
			}
			return nil
		})
		w.watchdogs(s, "active")
		if n := w.must(s, "systemctl show --value -p NFileDescriptorStore holdfast-guard"); n != "2" {
			w.t.Errorf("%s: systemd has %s descriptors of the watchdogs, want 2", s.Name, n)
		}
	}
}

// watchdogs waits until both watchdogs of a server are in a state.
func (w *town) watchdogs(s *server, want string) {
	w.t.Helper()
	w.await("both watchdogs of "+s.Name+" are "+want, func() error {
		if out, err := s.sh(w.t.Context(), "cat /sys/class/watchdog/watchdog*/state"); err != nil || out != want+"\n"+want {
			return fmt.Errorf("they are %q (%w)", out, err)
		}
		return nil
	})
}

// serving gives the cluster a service, and has the client write.
func (w *town) serving() {
	w.t.Helper()
	alpha := w.nodes[0]
	w.must(alpha, "mkfs.ext4 -q "+dataPath)
	if err := alpha.Write(w.t.Context(), "/root/cluster.yaml", fmt.Sprintf(`cluster:
  name: town
  failover_within: %s
  quarantine: off
services:
  orders:
    prefer: [alpha, beta]
    stack:
      - filesystem: {device: %s, at: /srv/orders, type: ext4}
      - ip: {address: %s/24}
      - exec: {run: [/usr/local/bin/demo, serve, -listen, "%[3]s:80", -file, /srv/orders/book]}
`, within, dataPath, served)); err != nil {
		w.t.Fatal(err)
	}
	w.must(alpha, "holdfast apply --yes -f /root/cluster.yaml")
	w.runsOn(alpha)
	if err := w.client.Start(w.t.Context(), "client", "/usr/bin/demo", "client", "-url", "http://"+served, "-every", "100ms", "-patience", "20s"); err != nil {
		w.t.Fatal(err)
	}
	w.answered(alpha, 20)
}

// runsOn waits until the service runs on a server, by its own word.
func (w *town) runsOn(s *server) {
	w.t.Helper()
	w.await("the service runs on "+s.Name, func() error {
		st, err := s.status(w.t.Context())
		if err != nil {
			return err
		}
		for i := range st.Services {
			if v := st.Services[i]; v.State == "running" && v.Node == s.Name {
				return nil
			}
		}
		return fmt.Errorf("services: %+v", st.Services)
	})
}

// records is what the client has told so far.
func (w *town) records() (list []ledger.Record) {
	w.t.Helper()
	text, err := os.ReadFile(w.client.Log())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range bytes.Split(text, []byte("\n")) {
		var r ledger.Record
		if line, is := bytes.CutPrefix(line, []byte("client: ")); is && json.Unmarshal(line, &r) == nil {
			list = append(list, r)
		}
	}
	return list
}

// answered waits until a server has answered n more writes, and gives those.
func (w *town) answered(s *server, n int) []ledger.Record {
	w.t.Helper()
	from := len(w.records())
	var list []ledger.Record
	w.await(fmt.Sprintf("%d writes are answered by %s", n, s.Name), func() error {
		list = w.records()[from:]
		good := 0
		for _, r := range list {
			if r.Err == "" && r.Node == s.Name {
				good++
			}
		}
		if good < n {
			return fmt.Errorf("%d are", good)
		}
		return nil
	})
	return list
}

// longest is the longest time between two answers.
func longest(list []ledger.Record) (gap time.Duration) {
	for i := 1; i < len(list); i++ {
		gap = max(gap, time.Duration(list[i].At-list[i-1].At))
	}
	return gap
}

// roles: what the package's groups may do is what the manual says of them.
func (w *town) roles(s *server) {
	w.t.Helper()
	w.must(s, "useradd -G holdfast-read icinga && useradd -G holdfast-operate oncall && useradd nobodys")
	w.must(s, "runuser -u icinga -- holdfast events >/dev/null")
	w.refuses(s, "runuser -u icinga -- holdfast service freeze orders", "holdfast-operate")
	w.must(s, "runuser -u oncall -- holdfast service freeze orders && runuser -u oncall -- holdfast service unfreeze orders")
	w.refuses(s, "runuser -u oncall -- holdfast node leave", "holdfast-admin")
	w.refuses(s, "runuser -u nobodys -- holdfast status", "holdfast-read")
}

// failedOver kills the kernel of the owner: its watchdog card resets it, the other
// one has the service, and the reset server comes back by itself.
func (w *town) failedOver(from, to *server) {
	w.t.Helper()
	struck, boots := time.Now(), from.Boots()
	if err := from.Panic(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if _, err := from.Await(w.Context(patience), "WATCHDOG", struck); err != nil {
		w.t.Fatal(err)
	}
	w.answered(to, 10)
	w.step("%s answers", to.Name)
	w.back(from, boots+1)
}

// back waits until a server has booted again and is a member.
func (w *town) back(s *server, boot int) {
	w.t.Helper()
	if _, err := s.AwaitBoot(w.Context(patience), boot); err != nil {
		w.t.Fatal(err)
	}
	w.booted(s)
	w.members(w.nodes...)
	w.probe(s)
	if name, err := s.sh(w.t.Context(), "readlink -f /dev/disk/by-holdfast/*"); err != nil || name != w.must(s, "readlink -f "+quorumPath) {
		w.t.Errorf("%s: udev does not know the quorum disk: %s, %v", s.Name, name, err)
	}
	w.step("%s is back", s.Name)
}

// probe has the kernel record every stop of a watchdog, which a look at its state
// from time to time could miss.
func (w *town) probe(s *server) {
	w.t.Helper()
	w.must(s, `cd /sys/kernel/tracing && echo 0 >events/enable && echo >kprobe_events && echo >trace &&
		echo 'p:rig/stopped_card i6300esb:esb_timer_stop' >>kprobe_events && echo 'p:rig/stopped_soft softdog:softdog_stop' >>kprobe_events &&
		echo 1 >events/rig/enable`)
}

// disarmed counts how often a watchdog was stopped since the probe was set.
func (w *town) disarmed(s *server) int {
	w.t.Helper()
	return strings.Count(w.must(s, "cat /sys/kernel/tracing/trace"), " stopped_")
}

// processes are the guard, the daemon and the service.
func (w *town) processes(s *server) string {
	w.t.Helper()
	return w.must(s, `systemctl show --value -p MainPID holdfast-guard holdfastd; grep -slx demo /proc/[0-9]*/comm || true`)
}

// upgraded installs the newer package on the owner and has it take over: all
// processes are the same ones, the client sees nothing, and no watchdog was
// disarmed at any time.
func (w *town) upgraded(s *server) {
	w.t.Helper()
	quiet := w.answered(s, 60)
	before, boot, began := w.processes(s), s.LastBoot().ID, time.Now()
	if n := w.disarmed(s); n != 0 {
		w.t.Fatalf("%s: %d stops of a watchdog before the upgrade", s.Name, n)
	}
	from := len(w.records())
	w.must(s, "dpkg -i /packages/newer/holdfast_0.9.1-1_amd64.deb")
	if st, err := s.status(w.t.Context()); err != nil || !strings.Contains(st.Self.Build, "0.9.0") || w.processes(s) != before {
		w.t.Errorf("%s: the installation has changed what runs: %v, %v, want the processes %s", s.Name, st, err, before)
	}
	w.must(s, "holdfast node upgrade --dry-run")
	w.step("%s", w.must(s, "holdfast node upgrade --wait 5m"))
	w.members(w.nodes...)
	st, err := s.status(w.t.Context())
	if err != nil || !strings.Contains(st.Self.Build, "0.9.1") {
		w.t.Errorf("%s: runs %v (%v) after the upgrade", s.Name, st, err)
	}
	if after := w.processes(s); after != before {
		w.t.Errorf("%s: guard, daemon and service are %q, they were %q", s.Name, after, before)
	}
	if out, _ := s.sh(w.t.Context(), `for u in holdfast-guard holdfastd; do readlink /proc/$(systemctl show --value -p MainPID $u)/exe; done`); out != "/usr/sbin/holdfast-guard\n/usr/sbin/holdfastd" {
		w.t.Errorf("%s: runs %q, want the files of the new package", s.Name, out)
	}
	w.answered(s, 20)
	list := w.records()[from:]
	for _, r := range list {
		if r.Err != "" || r.Node != s.Name {
			w.t.Errorf("write %d during the upgrade: answered by %q, %s", r.Seq, r.Node, r.Err)
		}
	}
	w.step("the client: %d writes during the upgrade, all answered, the longest gap %v; %v in %d writes before it", len(list), longest(list), longest(quiet), len(quiet))
	if n := w.disarmed(s); n != 0 {
		w.t.Errorf("%s: a watchdog was stopped %d times during the upgrade", s.Name, n)
	}
	w.unharmed(s, boot, began)
}

// unharmed fails if a watchdog has expired, or the machine was reset.
func (w *town) unharmed(s *server, boot string, since time.Time) {
	w.t.Helper()
	if now := w.must(s, "cat /proc/sys/kernel/random/boot_id"); now != boot {
		w.t.Errorf("%s was booted meanwhile", s.Name)
	}
	for _, e := range s.Events() {
		if e.At.After(since) && (e.Name == "WATCHDOG" || e.Name == "RESET") {
			w.t.Errorf("%s: %s %s", s.Name, e.Name, e.Data)
		}
	}
}

// rebooted reboots the owner with systemctl: its service is moved first, it leaves
// cleanly, and neither a watchdog nor another node has to end it.
func (w *town) rebooted(s, other *server) {
	w.t.Helper()
	began, boots := time.Now(), s.Boots()
	const fencings = "holdfast events --local --kind fencing --json | wc -l"
	before := w.must(other, fencings)
	if _, err := s.sh(w.t.Context(), "systemctl reboot"); err != nil {
		w.t.Fatal(err)
	}
	if _, err := s.Await(w.Context(patience), "RESET", began); err != nil {
		w.t.Fatal(err)
	}
	w.step("%s is reset, %v after the command", s.Name, time.Since(began).Round(time.Second))
	w.runsOn(other)
	w.answered(other, 10)
	for _, e := range s.Events() {
		if e.At.After(began) && (e.Name == "WATCHDOG" || e.Name == "RESET" && !strings.Contains(e.Data, "guest-reset")) {
			w.t.Errorf("%s did not reboot by itself: %s %s", s.Name, e.Name, e.Data)
		}
	}
	if after := w.must(other, fencings); after != before {
		w.t.Errorf("%s was fenced for its reboot: %s fencings, there were %s", s.Name, after, before)
	}
	if grant := w.must(other, "holdfast events --local --kind grant --service orders --json | tail -n 1"); !strings.Contains(grant, `"E1`) {
		w.t.Errorf("%s has the service by another proof than its release: %s", other.Name, grant)
	}
	w.back(s, boots+1)
}

// stopped stops the whole cluster, which disarms everything, and starts it again.
func (w *town) stopped() {
	w.t.Helper()
	w.must(w.nodes[0], "holdfast cluster stop --yes --wait 10m")
	for _, s := range w.nodes {
		w.watchdogs(s, "inactive")
		if n := w.disarmed(s); n < 2 {
			w.t.Errorf("%s: the probe has seen %d stops of its watchdogs, and there were two at least", s.Name, n)
		}
	}
	w.must(w.nodes[0], "holdfast cluster start")
	w.members(w.nodes...)
	w.await("the service answers again", func() error {
		if list := w.records(); list[len(list)-1].Err != "" {
			return fmt.Errorf("write %d: %s", list[len(list)-1].Seq, list[len(list)-1].Err)
		}
		return nil
	})
}

// verified has the client read back what was confirmed to it.
func (w *town) verified() {
	w.t.Helper()
	ctx := w.Context(patience)
	if _, err := w.client.Ask(ctx, wire.Request{Op: wire.Tell, Args: []string{"client"}, Data: []byte(ledger.Verify + "\n")}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.client.AwaitEnd(ctx, "client"); err != nil {
		w.t.Fatal(err)
	}
	list := w.records()
	if v := list[len(list)-1].Verdict; !v.Good() {
		w.t.Errorf("what was confirmed is not all there: %+v", v)
	} else {
		w.step("%d of %d confirmed writes are there", v.Acknowledged, v.Acknowledged)
	}
}

// removed takes the packages away, which is refused while a server is a member, and
// never touches the quorum disk.
func (w *town) removed() {
	w.t.Helper()
	super := w.superblock()
	for i, s := range slices.Backward(w.nodes) {
		w.refuses(s, "dpkg -r holdfast", "is a member of a cluster")
		w.members(w.nodes[:i+1]...)
		w.must(s, "systemctl disable --now holdfast")
		w.watchdogs(s, "inactive")
		if i > 0 {
			w.must(w.nodes[0], "holdfast node remove "+s.Name)
		}
		w.must(s, "dpkg -r holdfast && test ! -e /usr/sbin/holdfast-guard && test -e /etc/holdfast/node.yaml")
		w.must(s, "dpkg -P holdfast && test ! -e /etc/holdfast && test ! -e /var/lib/holdfast")
		if out, _ := s.sh(w.t.Context(), "systemctl list-units --all --plain --no-legend 'holdfast*'; ls /dev/watchdog0 /dev/watchdog1"); out != "/dev/watchdog0\n/dev/watchdog1" {
			w.t.Errorf("%s: left behind: %s", s.Name, out)
		}
	}
	if !bytes.Equal(super, w.superblock()) {
		w.t.Error("the removal has changed the quorum disk's superblock")
	}
}

// superblock is the part of the quorum disk that says what it is.
func (w *town) superblock() []byte {
	w.t.Helper()
	b := make([]byte, 4096)
	if _, err := io.ReadFull(io.NewSectionReader(w.quorum.File(), quorumdisk.SuperOffset, 4096), b); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// lastWords says what the servers have noted, if the test has failed.
func (w *town) lastWords() {
	if !w.t.Failed() {
		return
	}
	for _, s := range w.nodes {
		ctx := w.Context(patience)
		out, err := s.Run(ctx, "/bin/sh", "-c", "journalctl --no-pager -o short-monotonic -n 500 -u 'holdfast*'; holdfast status; holdfast events | tail -30; systemctl --failed --no-legend")
		w.t.Logf("%s: %v\n%s", s.Name, err, out)
	}
}
