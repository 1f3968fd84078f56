package packaging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
)

// life leads the packages through the life of a cluster on two servers. A client
// outside writes all the while, and at the end everything that was confirmed to it
// has to be there. The steps that are not needed by later ones all run, whatever
// failed before; -run 'NAME/^(boot|install|...)$' takes some.
func (w *town) life(t *testing.T) {
	alpha, beta := w.nodes[0], w.nodes[1]
	defer w.lastWords()
	for _, step := range []struct {
		name   string
		needed bool
		do     func()
	}{
		{"boot", true, func() { w.up(alpha); w.up(beta) }},
		{"install", true, func() {
			w.installed(alpha, "dpkg -i "+w.packages+"/old/holdfast_0.9.0-1_amd64.deb")
			w.installed(beta, "apt-get install --yes --no-install-recommends "+w.packages+"/old/holdfast_0.9.0-1_amd64.deb")
		}},
		{"init and join", true, w.formed},
		{"service", true, w.serving},
		{"groups", false, func() { w.roles(w.owner()) }},
		{"a kernel dies", false, w.failedOver},
		{"upgrade", false, func() { w.upgraded(w.owner()) }},
		{"two versions", false, w.mixed},
		{"upgrade of the other", false, func() { w.upgraded(w.owner()) }},
		{"reboot", false, w.rebooted},
		{"a guard dies", false, w.unguarded},
		{"cluster stop and start", false, w.stopped},
		{"everything is there", false, w.verified},
		{"removal", false, w.removed},
	} {
		w.step("%s", step.name)
		done := t.Run(step.name, func(t *testing.T) { w.t = t; step.do() })
		w.t = t
		if !done && step.needed {
			break
		}
	}
	w.step("done")
}

// installed installs a package, which starts and enables nothing.
func (w *town) installed(s *server, command string) {
	w.t.Helper()
	w.must(s, command)
	for _, unit := range []string{"holdfast", "holdfastd", "holdfast-guard"} {
		if out, _ := s.sh(w.t.Context(), "systemctl is-active "+unit+"; systemctl is-enabled "+unit); out != "inactive\ndisabled" {
			w.t.Errorf("%s: %s after the installation: %q", s.name, unit, out)
		}
	}
	w.must(s, "cp "+w.packages+"/demo /usr/local/bin/demo && getent group holdfast-read holdfast-operate holdfast-admin")
	w.watchdogs(s, "inactive")
}

// formed makes a cluster of the two.
func (w *town) formed() {
	w.t.Helper()
	alpha, beta := w.nodes[0], w.nodes[1]
	w.t.Log(w.must(alpha, "holdfast init --cluster town --failover-within "+w.within.String()+" --disk "+w.quorum+w.flags(alpha)))
	w.watchdogs(alpha, "inactive")
	w.must(alpha, "systemctl enable --now holdfast")
	w.members(alpha)
	var token struct{ Token string }
	if text := w.must(alpha, "holdfast token --json"); json.Unmarshal([]byte(text), &token) != nil || token.Token == "" {
		w.t.Fatalf("no token in %s", text)
	}
	w.t.Log(w.must(beta, "holdfast join "+token.Token+" --disk "+w.quorum+w.flags(beta)))
	w.must(beta, "systemctl enable --now holdfast")
	w.members(w.nodes...)
}

// members waits until the servers know each other as members, with armed watchdogs
// that systemd holds as well.
func (w *town) members(servers ...*server) {
	w.t.Helper()
	for _, s := range servers {
		w.await(s.name+" knows all members", func() error {
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
			w.t.Errorf("%s: systemd has %s descriptors of the watchdogs, want 2", s.name, n)
		}
	}
}

// watchdogs waits until both watchdogs of a server are in a state.
func (w *town) watchdogs(s *server, want string) {
	w.t.Helper()
	w.await("both watchdogs of "+s.name+" are "+want, func() error {
		if out, err := s.dogs(w.t.Context()); err != nil || out != want+" "+want {
			return fmt.Errorf("they are %q (%w)", out, err)
		}
		return nil
	})
}

// serving gives the cluster a service, and has the client write.
func (w *town) serving() {
	w.t.Helper()
	alpha := w.nodes[0]
	address, _, _ := strings.Cut(w.served, "/")
	w.must(alpha, "mkfs.ext4 -q "+w.data)
	w.must(alpha, fmt.Sprintf(`cat >/root/cluster.yaml <<'END'
cluster:
  name: town
  failover_within: %s
  quarantine: off
services:
  orders:
    prefer: [alpha, beta]
    stack:
      - filesystem: {device: %s, at: /srv/orders, type: ext4}
      - ip: {address: %s}
      - exec: {run: [/usr/local/bin/demo, serve, -listen, "%s:80", -file, /srv/orders/book]}
END`, w.within, w.data, w.served, address))
	w.must(alpha, "holdfast apply --yes -f /root/cluster.yaml")
	w.runsOn(alpha)
	if err := w.ask(w.t.Context(), "http://"+address); err != nil {
		w.t.Fatal(err)
	}
	w.answered(alpha, 20)
}

// owner waits until the service runs, by the word of the server that runs it.
func (w *town) owner() (owner *server) {
	w.t.Helper()
	w.await("the service runs", func() error {
		var errs []error
		for _, s := range w.nodes {
			st, err := s.status(w.t.Context())
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if i := slices.IndexFunc(st.Services, func(v api.Service) bool { return v.State == "running" && v.Node == s.name }); i >= 0 {
				owner = s
				return nil
			}
			errs = append(errs, fmt.Errorf("%s: services: %+v", s.name, st.Services))
		}
		return errors.Join(errs...)
	})
	return owner
}

// other is the server that s is not.
func (w *town) other(s *server) *server { return w.nodes[2-s.number] }

// runsOn waits until the service runs on a server, by its own word.
func (w *town) runsOn(s *server) {
	w.t.Helper()
	w.await("the service runs on "+s.name, func() error {
		st, err := s.status(w.t.Context())
		if err != nil {
			return err
		}
		for i := range st.Services {
			if v := st.Services[i]; v.State == "running" && v.Node == s.name {
				return nil
			}
		}
		return fmt.Errorf("services: %+v", st.Services)
	})
}

// told is what the client has told so far.
func (w *town) told() []ledger.Record {
	w.t.Helper()
	list, err := w.records()
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// answered waits until a server has answered n more writes, and gives those.
func (w *town) answered(s *server, n int) []ledger.Record {
	w.t.Helper()
	from := len(w.told())
	var list []ledger.Record
	w.await(fmt.Sprintf("%d writes are answered by %s", n, s.name), func() error {
		list = w.told()[from:]
		good := 0
		for _, r := range list {
			if r.Err == "" && r.Node == s.name {
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

// failedOver stops the owner's kernel: a watchdog resets it, the other one has the
// service, and the reset server comes back by itself.
func (w *town) failedOver() {
	w.t.Helper()
	from := w.owner()
	to, ends, struck := w.other(from), len(w.ended(from)), time.Now()
	if err := from.crash(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if how := w.ends(from, ends+1)[ends]; strings.HasPrefix(how, "own") {
		w.t.Errorf("%s, whose kernel stands still, ended by itself: %s", from.name, how)
	}
	w.answered(to, 10)
	w.step("%s answers, %v after %s's kernel died", to.name, time.Since(struck).Round(time.Second), from.name)
	w.back(from)
}

// unguarded kills the owner's guard: systemd starts it again with the descriptors of
// the watchdogs, which it has held, and the new one finds the node bound, feeds
// nothing, and resets it.
func (w *town) unguarded() {
	w.t.Helper()
	s := w.owner()
	to, ends, struck := w.other(s), len(w.ended(s)), time.Now()
	if _, err := s.run(w.t.Context(), "systemctl kill --kill-who=main --signal=KILL holdfast-guard"); err != nil {
		w.t.Log(err) // the reset may be faster than the answer
	}
	w.step("%s: %s, %v after its guard was killed", s.name, w.ends(s, ends+1)[ends], time.Since(struck).Round(time.Second))
	if n, err := s.disarmed(w.t.Context()); err == nil && n != 0 {
		w.t.Errorf("%s: its watchdogs were stopped or closed %d times when its guard was killed", s.name, n)
	}
	w.answered(to, 10)
	w.back(s)
}

// ended are the ends of a server's lives so far.
func (w *town) ended(s *server) []string {
	w.t.Helper()
	list, err := s.ends()
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// ends waits until a server's life has ended n times.
func (w *town) ends(s *server, n int) (list []string) {
	w.t.Helper()
	w.await(s.name+" has ended", func() error {
		if list = w.ended(s); len(list) < n {
			return fmt.Errorf("its ends are %q", list)
		}
		return nil
	})
	return list
}

// back waits until a server has booted again and is a member.
func (w *town) back(s *server) {
	w.t.Helper()
	w.up(s)
	w.members(w.nodes...)
	if name, err := s.sh(w.t.Context(), "readlink -f /dev/disk/by-holdfast/*"); w.udev && (err != nil || name != w.must(s, "readlink -f "+w.quorum)) {
		w.t.Errorf("%s: udev does not know the quorum disk: %s, %v", s.name, name, err)
	}
	w.step("%s is back", s.name)
}

// stops counts how often a watchdog was stopped since the server's boot.
func (w *town) stops(s *server) int {
	w.t.Helper()
	n, err := s.disarmed(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
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
	before, ends := w.processes(s), len(w.ended(s))
	if n := w.stops(s); n != 0 {
		w.t.Errorf("%s: %d stops of a watchdog before the upgrade", s.name, n)
	}
	from := len(w.told())
	w.must(s, "dpkg -i "+w.packages+"/newer/holdfast_0.9.1-1_amd64.deb")
	if st, err := s.status(w.t.Context()); err != nil || !strings.Contains(st.Self.Build, "0.9.0") || w.processes(s) != before {
		w.t.Errorf("%s: the installation has changed what runs: %v, %v, want the processes %s", s.name, st, err, before)
	}
	w.must(s, "holdfast node upgrade --dry-run")
	w.step("%s", w.must(s, "holdfast node upgrade --wait 5m"))
	w.members(w.nodes...)
	st, err := s.status(w.t.Context())
	if err != nil || !strings.Contains(st.Self.Build, "0.9.1") {
		w.t.Errorf("%s: runs %v (%v) after the upgrade", s.name, st, err)
	}
	if after := w.processes(s); after != before {
		w.t.Errorf("%s: guard, daemon and service are %q, they were %q", s.name, after, before)
	}
	if out, _ := s.sh(w.t.Context(), `for u in holdfast-guard holdfastd; do readlink /proc/$(systemctl show --value -p MainPID $u)/exe; done`); out != "/usr/sbin/holdfast-guard\n/usr/sbin/holdfastd" {
		w.t.Errorf("%s: runs %q, want the files of the new package", s.name, out)
	}
	w.answered(s, 20)
	list := w.told()[from:]
	for _, r := range list {
		if r.Err != "" || r.Node != s.name {
			w.t.Errorf("write %d during the upgrade: answered by %q, %s", r.Seq, r.Node, r.Err)
		}
	}
	w.step("the client: %d writes during the upgrade, all answered, the longest gap %v; %v in %d writes before it", len(list), longest(list), longest(quiet), len(quiet))
	if n := w.stops(s); n != 0 {
		w.t.Errorf("%s: a watchdog was stopped %d times during the upgrade", s.name, n)
	}
	if now := w.ended(s); len(now) != ends {
		w.t.Errorf("%s ended: %s", s.name, now[ends])
	}
}

// mixed moves the service between two nodes of different versions.
func (w *town) mixed() {
	w.t.Helper()
	other := w.other(w.owner())
	w.must(other, "holdfast service move orders --to "+other.name+" --wait 5m")
	w.answered(other, 5)
}

// rebooted reboots the owner with systemctl: its service is moved first, it leaves
// cleanly, and neither a watchdog nor another node has to end it. logind has announced
// it.
func (w *town) rebooted() {
	w.t.Helper()
	s := w.owner()
	other := w.other(s)
	began, ends := time.Now(), len(w.ended(s))
	const fencings = "holdfast events --local --kind fencing --json | wc -l"
	before := w.must(other, fencings)
	w.must(s, "systemd-inhibit --list | grep Holdfast")
	if _, err := s.run(w.t.Context(), "systemctl reboot"); err != nil {
		w.t.Log(err) // the reboot may be faster than the answer
	}
	how := w.ends(s, ends+1)[ends]
	w.step("%s has ended, %v after the command: %s", s.name, time.Since(began).Round(time.Second), how)
	if !strings.HasPrefix(how, "own") {
		w.t.Errorf("%s did not reboot by itself: %s", s.name, how)
	}
	w.runsOn(other)
	w.answered(other, 10)
	if after := w.must(other, fencings); after != before {
		w.t.Errorf("%s was fenced for its reboot: %s fencings, there were %s", s.name, after, before)
	}
	if grant := w.must(other, "holdfast events --local --kind grant --service orders --json | tail -n 1"); !strings.Contains(grant, `"E1`) {
		w.t.Errorf("%s has the service by another proof than its release: %s", other.name, grant)
	}
	w.back(s)
	if out := w.must(s, "holdfast events --local --kind shutdown --json"); !strings.Contains(out, "is going down") {
		w.t.Errorf("%s: the reboot was not announced: %q", s.name, out)
	}
}

// stopped stops the whole cluster, after which no node's watchdogs hang on the quorum
// disk, though they are fed, and starts it again.
func (w *town) stopped() {
	w.t.Helper()
	w.must(w.nodes[0], "holdfast cluster stop --yes --wait 5m")
	for _, s := range w.nodes {
		w.watchdogs(s, "active")
		if out, _ := s.sh(w.t.Context(), "ls /run/holdfast/*/bound; grep -s /srv/orders /proc/mounts"); !strings.Contains(out, "No such file") || strings.Contains(out, "ext4") {
			w.t.Errorf("%s: bound, or still in use: %s", s.name, out)
		}
	}
	w.must(w.nodes[0], "holdfast cluster start")
	w.members(w.nodes...)
	w.answered(w.owner(), 5)
}

// verified has the client read back what was confirmed to it.
func (w *town) verified() {
	w.t.Helper()
	switch v, err := w.verdict(w.t.Context()); {
	case err != nil:
		w.t.Error(err)
	case !v.Good():
		w.t.Errorf("what was confirmed is not all there: %+v", v)
	default:
		w.step("%d of %d confirmed writes are there", v.Acknowledged, v.Acknowledged)
	}
}

// removed takes the packages away, which is refused while a server is a member, and
// never touches the quorum disk.
func (w *town) removed() {
	w.t.Helper()
	super, err := w.superblock()
	if err != nil {
		w.t.Fatal(err)
	}
	for i, s := range slices.Backward(w.nodes) {
		w.refuses(s, "dpkg -r holdfast", "is a member of a cluster")
		w.members(w.nodes[:i+1]...)
		w.must(s, "systemctl disable --now holdfast && test ! -e /run/holdfast/"+s.name+"/bound")
		if i > 0 {
			w.must(w.nodes[0], "holdfast node remove "+s.name)
		}
		w.must(s, "dpkg -r holdfast && test ! -e /usr/sbin/holdfast-guard && test -e /etc/holdfast/node.yaml")
		w.watchdogs(s, "inactive")
		if n := w.stops(s); n < 2 {
			w.t.Errorf("%s: %d stops of its watchdogs were seen, and there were two at least", s.name, n)
		}
		w.must(s, "dpkg -P holdfast && test ! -e /etc/holdfast && test ! -e /var/lib/holdfast")
		if out, _ := s.sh(w.t.Context(), "systemctl list-units --all --plain --no-legend 'holdfast*'"); out != "" {
			w.t.Errorf("%s: left behind: %s", s.name, out)
		}
	}
	if now, err := w.superblock(); err != nil || !bytes.Equal(super, now) {
		w.t.Errorf("the removal has changed the quorum disk's superblock (%v)", err)
	}
}
