// Package iscsi is for the initiator sessions of a service's own disks: discover
// targets, log in and out, read a session's state, and set the timeouts that decide
// how long the kernel holds back I/O when a target is gone.
//
// Sessions are made by open-iscsi's daemon, which also recovers them; the package
// drives it through iscsiadm(8) and checks in sysfs what it says. A logout counts as
// done only when the session and its disks are gone from sysfs, because a session
// left behind goes on writing.
package iscsi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/storage/program"
)

// Initiator is this machine's.
type Initiator struct {
	Run   program.Runner
	Sysfs string // where sysfs is mounted
}

// Found is a target as a portal names it.
type Found struct{ Portal, Target string }

// Settings are what a session is made with.
type Settings struct {
	User, Password string        // CHAP; empty: none
	Recovery       time.Duration // how long I/O is held back when the session is lost
}

// Session is a session of the kernel.
type Session struct {
	ID     string // session3
	Target string
	State  string // LOGGED_IN, FAILED, FREE
	Portal string // address:port; empty where the kernel does not say
	Disks  []Disk
}

// Disk is a disk of a session.
type Disk struct {
	Name    string // sdb
	LUN     string
	State   string // running, blocked, transport-offline, offline
	Holders []string
}

// Exit codes of iscsiadm(8).
const (
	exitTimeout = 8  // of the connection
	exitSilent  = 11 // a request within it
	exitExists  = 15
	exitNone    = 21
)

// Error is a failure of iscsiadm.
type Error struct {
	Doing string
	Code  int
	Said  string
}

// Error adds what an exit code means to what was printed.
func (e *Error) Error() string {
	meaning := map[int]string{
		4: "the portal cannot be reached", 5: "the login failed", 8: "the portal did not answer in time", 9: "the kernel has no iscsi_tcp; modprobe iscsi_tcp",
		11: "the target did not answer in time", 18: "the daemon does not answer; systemctl restart iscsid", 19: "the target refuses the login",
		20: "the daemon does not run; systemctl start iscsid", 24: "the target refuses the user or the password (CHAP)",
	}[e.Code]
	if meaning == "" {
		meaning = "exit status " + strconv.Itoa(e.Code)
	}
	return e.Doing + ": " + meaning + ": " + e.Said
}

// Timeout says that err is of an iscsiadm to which nobody has answered in time: the login
// may work the next time, and may even have worked.
func Timeout(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == exitTimeout || e.Code == exitSilent)
}

func (i Initiator) admin(ctx context.Context, doing string, args ...string) (program.Result, error) {
	res, err := i.Run(ctx, program.Command{Argv: append([]string{"iscsiadm"}, args...)})
	switch {
	case err != nil:
		return res, err
	case res.Code != 0:
		return res, &Error{Doing: doing, Code: res.Code, Said: res.Said()}
	}
	return res, nil
}

// Discover asks a portal for its targets (SendTargets), with CHAP if s has a user.
func (i Initiator) Discover(ctx context.Context, portal string, s Settings) ([]Found, error) {
	doing := "discover at " + portal
	where := []string{"-m", "discoverydb", "-t", "sendtargets", "-p", portal}
	_, err := i.admin(ctx, doing, append(where, "-o", "new")...)
	var known *Error
	if err != nil && !(errors.As(err, &known) && known.Code == exitExists) {
		return nil, err
	}
	settings := []string{"discovery.sendtargets.auth.authmethod=None"}
	if s.User != "" {
		const auth = "discovery.sendtargets.auth."
		settings = []string{auth + "authmethod=CHAP", auth + "username=" + s.User, auth + "password=" + s.Password}
	}
	if err := i.update(ctx, doing, where, settings); err != nil {
		return nil, err
	}
	res, err := i.admin(ctx, doing, append(where, "-o", "nonpersistent", "--discover")...)
	if err != nil {
		return nil, err
	}
	var list []Found
	for line := range strings.Lines(res.Stdout) { // 10.1.0.5:3260,1 iqn...
		if fields := strings.Fields(line); len(fields) == 2 {
			at, _, _ := strings.Cut(fields[0], ",")
			list = append(list, Found{Portal: at, Target: fields[1]})
		}
	}
	return list, nil
}

// Configure writes the record of a target at a portal: by hand only, never at boot,
// and with timeouts that fit. The password is an argument of iscsiadm, which takes
// it in no other way, and can be seen by others on this machine for that moment.
func (i Initiator) Configure(ctx context.Context, target, portal string, s Settings) error {
	node := []string{"-m", "node", "-T", target, "-p", portal}
	doing := "record of " + target + " at " + portal
	_, err := i.admin(ctx, doing, append(node, "-o", "new")...)
	var known *Error
	if err != nil && !(errors.As(err, &known) && known.Code == exitExists) {
		return err
	}
	recovery := max(1, int(s.Recovery/time.Second))
	ping := strconv.Itoa(max(1, recovery/3))
	settings := []string{
		"node.startup=manual", "node.conn[0].startup=manual",
		"node.session.timeo.replacement_timeout=" + strconv.Itoa(recovery),
		"node.conn[0].timeo.noop_out_interval=" + ping, "node.conn[0].timeo.noop_out_timeout=" + ping,
		"node.conn[0].timeo.login_timeout=10", "node.session.initial_login_retry_max=2",
		"node.session.auth.authmethod=None",
	}
	if s.User != "" {
		settings = append(settings[:len(settings)-1], "node.session.auth.authmethod=CHAP",
			"node.session.auth.username="+s.User, "node.session.auth.password="+s.Password)
	}
	return i.update(ctx, doing, node, settings)
}

// update changes a record of iscsiadm, one setting at a time.
func (i Initiator) update(ctx context.Context, doing string, record, settings []string) error {
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		if _, err := i.admin(ctx, doing, append(slices.Clone(record), "-o", "update", "-n", name, "-v", value)...); err != nil {
			return err
		}
	}
	return nil
}

// Login makes a session; one that is there already is fine.
func (i Initiator) Login(ctx context.Context, target, portal string) error {
	_, err := i.admin(ctx, "login to "+target+" at "+portal, "-m", "node", "-T", target, "-p", portal, "--login")
	var known *Error
	if errors.As(err, &known) && known.Code == exitExists {
		return nil
	}
	return err
}

// Logout ends all sessions of a target; none is fine. Whether they are gone is in
// Sessions.
func (i Initiator) Logout(ctx context.Context, target string) error {
	_, err := i.admin(ctx, "logout from "+target, "-m", "node", "-T", target, "--logout")
	var known *Error
	if errors.As(err, &known) && known.Code == exitNone {
		return nil
	}
	return err
}

// Sessions are those of the kernel with a target. It asks nobody but the kernel.
func (i Initiator) Sessions(target string) ([]Session, error) {
	class := filepath.Join(i.Sysfs, "class", "iscsi_session")
	dirs, err := os.ReadDir(class)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(i.Sysfs, "class")); err != nil {
			return nil, fmt.Errorf("sessions of this machine: %w", err)
		}
		return nil, nil // a kernel without the module has no sessions
	} else if err != nil {
		return nil, fmt.Errorf("sessions of this machine: %w", err)
	}
	var list []Session
	for _, d := range dirs {
		dir := filepath.Join(class, d.Name())
		name, err := read(dir, "targetname")
		if err != nil {
			return nil, fmt.Errorf("session %s: %w", d.Name(), err)
		}
		if name != target {
			continue
		}
		s := Session{ID: d.Name(), Target: name}
		if s.State, err = read(dir, "state"); err != nil {
			return nil, fmt.Errorf("session %s: %w", d.Name(), err)
		}
		s.Portal = i.portal(strings.TrimPrefix(d.Name(), "session"))
		s.Disks = disks(dir)
		list = append(list, s)
	}
	return list, nil
}

func (i Initiator) portal(number string) string {
	dir := filepath.Join(i.Sysfs, "class", "iscsi_connection", "connection"+number+":0")
	address, err := read(dir, "persistent_address")
	port, err2 := read(dir, "persistent_port")
	if errors.Join(err, err2) != nil {
		return ""
	}
	return net.JoinHostPort(address, port)
}

// disks are below sessionN/device/targetH:C:T/H:C:T:L/block.
func disks(session string) []Disk {
	blocks, _ := filepath.Glob(filepath.Join(session, "device", "target*", "*:*:*:*", "block", "*"))
	var list []Disk
	for _, b := range blocks {
		unit := filepath.Dir(filepath.Dir(b))
		d := Disk{Name: filepath.Base(b), LUN: unit[strings.LastIndexByte(unit, ':')+1:]}
		d.State, _ = read(unit, "state")
		holders, _ := os.ReadDir(filepath.Join(b, "holders"))
		for _, h := range holders {
			d.Holders = append(d.Holders, h.Name())
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Disk) int { return strings.Compare(a.LUN+a.Name, b.LUN+b.Name) })
	return list
}

// read is the content of a file of sysfs; one that vanished with its session is
// empty.
func read(dir, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}
