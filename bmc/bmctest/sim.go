package bmctest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
)

// Sim is the IPMI controller simulator of OpenIPMI, unchanged, in front of a
// Machine: it switches the machine by a program, and asks that for its power.
type Sim struct {
	Port int // UDP, on 127.0.0.1

	pid atomic.Int64
}

// The configuration of ipmi_sim: ipmi_lan(5) and ipmi_sim_cmd(5). It knows the
// cipher suites up to 3 only.
const (
	simLAN = `name "holdfast"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 %d
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid %x
  endlan
  chassis_control "%s 0x20"
  startnow false
  user 1 false "" "" user 10 none md2 md5 straight
  user 2 true "%s" "%s" admin 10 none md2 md5 straight
`
	simCommands = `mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
`
)

// simStart bounds the time that ipmi_sim may take until it answers.
const simStart = 20 * time.Second

// NewSim starts ipmi_sim, for as long as the test lasts. It skips the test where
// the program is not installed.
func NewSim(t testing.TB, m *Machine) *Sim {
	t.Helper()
	program, err := exec.LookPath("ipmi_sim")
	if err != nil {
		t.Skip("ipmi_sim is not installed: apt-get install openipmi, or test/setup.sh as root")
	}
	s := &Sim{}
	p := &Program{machine: m}
	p.answer = func(session int, c call) outcome { return s.chassis(m, session, c) }
	p.start(t, "chassis")
	s.Port = freePort(t)
	dir := filepath.Dir(p.Path)
	guid, _ := m.shown()
	lan, commands := filepath.Join(dir, "lan.conf"), filepath.Join(dir, "sim.emu")
	for path, text := range map[string]string{lan: fmt.Sprintf(simLAN, s.Port, guid[:], p.Path, User, Password), commands: simCommands} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "-n", "-c", lan, "-f", commands, "-s", dir)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid.Store(int64(cmd.Process.Pid))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		s.kill()
		<-ended
	})
	s.await(t, ended, &log)
	return s
}

// Reference gives the reference of the controller with the given options.
func (s *Sim) Reference(t testing.TB, options ...string) bmc.Reference {
	t.Helper()
	return parse(t, fmt.Sprintf("ipmi://%s@127.0.0.1:%d?%s", User, s.Port, strings.Join(append([]string{"cipher=3"}, options...), "&")))
}

// kill ends ipmi_sim and what it has started. It may be called more than once.
func (s *Sim) kill() { _ = syscall.Kill(-int(s.pid.Load()), syscall.SIGKILL) }

// await returns when ipmi_sim answers a question that needs no session.
func (s *Sim) await(t testing.TB, ended <-chan struct{}, log *bytes.Buffer) {
	t.Helper()
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Get Channel Authentication Capabilities (IPMI 2.0, 22.13), outside of a session.
	question := []byte{6, 0, 0xff, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0x18, 0xc8, 0x81, 0, 0x38, 0x8e, 4, 0xb5}
	answer := make([]byte, 512)
	for end := time.Now().Add(simStart); time.Now().Before(end); {
		_, _ = conn.Write(question)
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := conn.Read(answer); err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("ipmi_sim has ended: %s", log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("ipmi_sim does not answer within %v", simStart)
}

// chassis is the program that ipmi_sim calls: "0x20 get power", "0x20 set power 0".
func (s *Sim) chassis(m *Machine, session int, c call) outcome {
	switch strings.Join(c.Args[1:], " ") {
	case "get power":
		switch m.status(session) {
		case wordGarbage:
			return outcome{0, "purple\n", ""}
		case wordOff:
			return outcome{0, "power:0\n", ""}
		}
		return outcome{0, "power:1\n", ""}
	case "set power 0", "set power 1":
		if !m.command(c.Args[3] == "1") {
			return outcome{1, "", "no privilege\n"}
		}
		if m.silent() {
			s.kill()
		}
		return outcome{0, "", ""}
	}
	return outcome{1, "", "not known\n"}
}

// freePort is a UDP port of 127.0.0.1 that nobody had a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.LocalAddr().(*net.UDPAddr).Port
}
