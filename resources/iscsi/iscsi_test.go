package iscsi_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	initiator "github.com/holdfast-ha/holdfast/iscsi"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/iscsi"
	"github.com/holdfast-ha/holdfast/storage/program"
)

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"iscsi": iscsi.Agent{}}) }

const target = "iqn.2026-11.example:orders"

// admin stands in for iscsiadm and the kernel below it: a session appears in sysfs
// with its disk a little after the login, and goes with the logout.
const admin = `#!/bin/sh
echo "$*" >>$DIR/calls
S=$HOLDFAST_SYSFS/class/iscsi_session
case "$*" in
*discovery*) echo "127.0.0.1:3260,1 iqn.2026-11.example:orders"; exit 0;;
*"-o new") [ ! -e $DIR/record ] || exit 15; touch $DIR/record; exit 0;;
*"-o update"*) exit 0;;
*--login)
  [ ! -e $DIR/slow/1 ] || { rm $(ls -d $DIR/slow/* | tail -1); echo "iscsiadm: initiator reported error (8 - connection timed out)" >&2; exit 8; }
  [ ! -e $DIR/refuse ] || { echo "iscsiadm: Could not login" >&2; exit $(cat $DIR/refuse); }
  [ ! -e $S/session1 ] || exit 15
  mkdir -p $S/session1.new/device/target1:0:0/1:0:0:0/block/sdz/holders
  echo iqn.2026-11.example:orders >$S/session1.new/targetname; echo LOGGED_IN >$S/session1.new/state
  echo running >$S/session1.new/device/target1:0:0/1:0:0:0/state
  mv $S/session1.new $S/session1; exit 0;;
*--logout) [ -e $S/session1 ] || exit 21
  [ ! -e $DIR/stuck ] || { echo "iscsiadm: Could not logout" >&2; exit 10; }
  mv $S/session1 $DIR/gone.$$; rm -rf $DIR/gone.$$; exit 0;;
esac
exit 7
`

type setting struct {
	t      *testing.T
	dir    string
	env    []string
	portal string
}

func newSetting(t *testing.T) *setting {
	t.Helper()
	s := &setting{t: t, dir: t.TempDir()}
	for _, d := range []string{"bin", "sys/class/iscsi_session"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write("bin/iscsiadm", admin, 0o755)
	s.env = []string{"PATH=" + s.dir + "/bin:" + os.Getenv("PATH"), "DIR=" + s.dir, "HOLDFAST_SYSFS=" + s.dir + "/sys"}
	for _, e := range s.env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.portal = l.Addr().String()
	return s
}

func (s *setting) write(name, text string, mode os.FileMode) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *setting) ask(v func(context.Context, resources.Request) resources.Report, spec map[string]any, outcome resources.Outcome, words string) resources.Report {
	s.t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	r := v(ctx, resources.Request{Service: "suite", Member: "m", Spec: raw, Timeout: 2 * time.Second})
	if r.Outcome != outcome || !strings.Contains(r.Text, words) {
		s.t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
	return r
}

func TestLives(t *testing.T) {
	s := newSetting(t)
	spec := map[string]any{"target": target, "portal": s.portal, "discover": true}
	agenttest.Run(t, iscsi.Agent{}, spec)
	agenttest.Lives(t, agenttest.Case{Kind: "iscsi", Spec: spec, Env: s.env, Lose: func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(s.dir, "sys/class/iscsi_session/session1")); err != nil {
			t.Fatal(err)
		}
	}})
}

// The record is never for the boot, has timeouts that fit and the password of the
// file, which nobody else may read.
func TestRecord(t *testing.T) {
	s := newSetting(t)
	secret := s.write("secret", "open sesame\n", 0o644)
	spec := map[string]any{"target": target, "portal": s.portal, "user": "orders", "password_file": secret, "recovery": "9s"}
	a := iscsi.Agent{}
	s.ask(a.Fit, spec, resources.Failed, "chmod 600 "+secret)
	s.ask(a.Start, spec, resources.Failed, "chmod 600 "+secret)
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ask(a.Start, spec, resources.OK, "1 of 1 sessions")
	calls, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-n node.startup -v manual", "replacement_timeout -v 9", "noop_out_interval -v 3", "noop_out_timeout -v 3",
		"authmethod -v CHAP", "username -v orders", "password -v open sesame",
	} {
		if !strings.Contains(string(calls), want+"\n") {
			t.Errorf("no call with %q in\n%s", want, calls)
		}
	}
}

func TestFailures(t *testing.T) {
	s := newSetting(t)
	a := iscsi.Agent{}
	spec := map[string]any{"target": target, "portal": s.portal}
	s.write("refuse", "24", 0o644)
	s.ask(a.Start, spec, resources.Failed, "refuses the user or the password")
	s.write("refuse", "20", 0o644)
	s.ask(a.Start, spec, resources.Failed, "systemctl start iscsid")
	if err := os.Remove(filepath.Join(s.dir, "refuse")); err != nil {
		t.Fatal(err)
	}
	s.ask(a.Start, spec, resources.OK, "")
	session := "sys/class/iscsi_session/session1/"
	// Lost, and the kernel holds I/O back: an array that is back in time costs no restart. Then it gives up.
	s.write(session+"state", "FAILED\n", 0o644)
	s.ask(a.Check, spec, resources.OK, "I/O is held back")
	s.write(session+"state", "FREE\n", 0o644)
	s.ask(a.Check, spec, resources.Failed, "session1 is FREE")
	s.ask(a.Probe, spec, resources.OK, "")
	s.write(session+"state", "LOGGED_IN\n", 0o644)
	s.write(session+"device/target1:0:0/1:0:0:0/state", "offline\n", 0o644)
	s.ask(a.Check, spec, resources.Failed, "sdz (LUN 0)")
	// A session that stays is not a stop, and says what stands on it.
	s.write("stuck", "", 0o644)
	s.write(session+"device/target1:0:0/1:0:0:0/block/sdz/holders/dm-4", "", 0o644)
	if r := s.ask(a.Stop, spec, resources.Failed, "are left"); len(r.Holders) != 1 || !strings.Contains(r.Holders[0], "sdz of session1, below [dm-4]") {
		t.Errorf("holders %q", r.Holders)
	}
	t.Setenv("HOLDFAST_SYSFS", filepath.Join(s.dir, "none"))
	s.ask(a.Probe, spec, resources.Unknown, "")
	s.ask(a.Fit, map[string]any{"target": target, "portal": "127.0.0.1:1"}, resources.Failed, "no portal")
}

// A login that nobody has answered is repeated while the start has time; what was
// refused is not.
func TestASlowFirstLogin(t *testing.T) {
	s := newSetting(t)
	slow := func(times ...string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(s.dir, "slow"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range times {
			s.write("slow/"+name, "", 0o644)
		}
	}
	logins := func() int {
		calls, err := os.ReadFile(filepath.Join(s.dir, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(calls), "--login")
	}
	a := iscsi.Agent{}
	spec := map[string]any{"target": target, "portal": s.portal}
	slow("1", "2")
	s.ask(a.Start, spec, resources.OK, "1 of 1 sessions")
	if logins() != 3 {
		t.Errorf("%d logins, want 3", logins())
	}
	s.ask(a.Stop, spec, resources.OK, "")
	slow("1")
	s.write("refuse", "24", 0o644)
	before := logins()
	s.ask(a.Start, spec, resources.Failed, "refuses the user or the password")
	if logins()-before != 2 {
		t.Errorf("%d logins after a refusal, want 2", logins()-before)
	}
	slow("1", "2", "3", "4", "5", "6", "7", "8", "9")
	s.ask(a.Start, spec, resources.Unknown, "") // no answer within the start's own limit: it is not known what became of it
}

// The real iscsiadm keeps the record as it is meant; sessions and discovery need a
// kernel with iscsi_tcp.
func TestTheRecordOfTheRealOne(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: iscsiadm works as root; run this test as root")
	}
	if _, err := exec.LookPath("iscsiadm"); err != nil {
		t.Skip("iscsiadm is not installed: apt-get install open-iscsi, or run test/setup.sh")
	}
	if os.Getenv("INSIDE") == "" { // in a mount namespace, for its records are in one place only
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		const line = `mkdir -p /etc/iscsi /run/lock/iscsi && mount -t tmpfs x /etc/iscsi && : >/etc/iscsi/iscsid.conf &&
echo InitiatorName=iqn.2026-11.example:me >/etc/iscsi/initiatorname.iscsi && exec "$@"`
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", line, "sh", self, "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "INSIDE=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	const portal = "192.0.2.5:3260"
	i := initiator.Initiator{Run: program.Run, Sysfs: "/sys"}
	for range 2 { // a record that is there is changed
		err := i.Configure(context.Background(), target, portal, initiator.Settings{User: "orders", Password: "open sesame", Recovery: 9 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("iscsiadm", "-m", "node", "-T", target, "-p", portal, "-S").Output()
	for _, want := range []string{
		"node.startup = manual", "node.session.timeo.replacement_timeout = 9", "node.conn[0].timeo.noop_out_interval = 3",
		"node.session.auth.authmethod = CHAP", "node.session.auth.username = orders", "node.session.auth.password = open sesame",
	} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("the record has no %s (%v) in\n%s", want, err, out)
		}
	}
	if err := i.Logout(context.Background(), target); err != nil {
		t.Errorf("logout without a session: %v", err)
	}
}

func TestBadSpecifications(t *testing.T) {
	s := newSetting(t)
	for _, spec := range []map[string]any{
		{},
		{"target": target},
		{"target": "orders", "portal": "10.0.0.1"},
		{"target": target, "portal": "10.0.0.1", "user": "x"},
		{"target": target, "portal": "10.0.0.1", "password": "x"},
	} {
		s.ask(iscsi.Agent{}.Start, spec, resources.Failed, "")
	}
}
