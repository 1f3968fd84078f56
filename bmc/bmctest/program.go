package bmctest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
)

// socketVariable tells a test program that it was started as a fake program,
// and where its controller listens.
const socketVariable = "BMCTEST_SOCKET"

// Main is to be called by TestMain of every package whose tests use NewProgram:
// the fake program is a script that starts the test program again. Main returns
// if the program was started for its tests.
func Main() {
	socket := os.Getenv(socketVariable)
	if socket == "" {
		return
	}
	os.Exit(play(socket))
}

// call is what a program was started with, and outcome how it is to end.
type call struct {
	Args     []string
	Input    string
	Password string // IPMITOOL_PASSWORD
}

type outcome struct {
	Status        int
	Output, Error string
}

// play asks the controller what to do, and does it.
func play(socket string) int {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c := call{Args: os.Args[1:], Password: os.Getenv("IPMITOOL_PASSWORD")}
	if len(c.Args) == 0 { // agents are told on standard input; ipmitool is not
		input, _ := io.ReadAll(os.Stdin)
		c.Input = string(input)
	}
	var o outcome
	if json.NewEncoder(conn).Encode(c) != nil || json.NewDecoder(conn).Decode(&o) != nil {
		return 1
	}
	fmt.Print(o.Output)
	fmt.Fprint(os.Stderr, o.Error)
	return o.Status
}

// Program is a program that plays ipmitool or a fence agent for a Machine.
type Program struct {
	Path string // the program

	machine *Machine
	answer  func(session int, c call) outcome

	mu    sync.Mutex // guards calls
	calls []call
}

// NewIPMITool makes a program ipmitool, alone in a directory.
func NewIPMITool(t testing.TB, m *Machine) *Program {
	p := &Program{machine: m}
	p.answer = p.ipmitool
	p.start(t, "ipmitool")
	return p
}

// NewAgent makes a fence agent.
func NewAgent(t testing.TB, m *Machine) *Program {
	p := &Program{machine: m}
	p.answer = p.agent
	p.start(t, "fence_fake")
	return p
}

// Reference gives the reference of the fence agent.
func (p *Program) Reference(t testing.TB, options ...string) bmc.Reference {
	t.Helper()
	return parse(t, "agent:"+p.Path+"?"+strings.Join(append([]string{"plug=node1"}, options...), "&"))
}

// Arguments gives all arguments that the program was started with, in all its
// runs: what every user of the machine could read.
func (p *Program) Arguments() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, c := range p.calls {
		all = append(all, c.Args...)
	}
	return all
}

func (p *Program) start(t testing.TB, name string) {
	t.Helper()
	// The path of a socket is limited to about 100 bytes; t.TempDir is longer.
	dir, err := os.MkdirTemp("", "bmctest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.Path = filepath.Join(dir, name)
	socket := filepath.Join(dir, "s")
	script := fmt.Sprintf(scriptOf(name), socketVariable, socket, self)
	if err := os.WriteFile(p.Path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				// A run that nobody has killed, as of an ssh that went into a session of
				// its own, ends with the test.
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				p.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		end()
		running.Wait()
	})
}

// scriptOf is the program as a shell script, with places for the variable, the
// socket and the test program.
func scriptOf(name string) string {
	if name == "ssh" {
		return sshScript
	}
	return "#!/bin/sh\n%s='%s' exec '%s' \"$@\"\n"
}

// serve answers one run of the program.
func (p *Program) serve(conn net.Conn) {
	defer conn.Close()
	var c call
	if json.NewDecoder(conn).Decode(&c) != nil {
		return
	}
	p.mu.Lock()
	p.calls = append(p.calls, c)
	session := len(p.calls)
	p.mu.Unlock()
	if p.machine.is(Hanging) {
		_, _ = io.Copy(io.Discard, conn) // until the program is killed
		return
	}
	_ = json.NewEncoder(conn).Encode(p.answer(session, c))
}

// ipmitool answers as version 1.8.19 does.
func (p *Program) ipmitool(session int, c call) outcome {
	line := strings.Join(c.Args, " ")
	unreachable := outcome{1, "", "Error: Unable to establish IPMI v2 / RMCP+ session\n"}
	if p.machine.silent() || c.Password != Password || !strings.Contains(line, "-U "+User+" ") || !strings.Contains(line, "-H ") {
		return unreachable
	}
	switch {
	case strings.HasSuffix(line, "raw 0x06 0x37"):
		g, named := p.machine.shown()
		if !named {
			return outcome{1, "", "Unable to send RAW command (channel=0x0 netfn=0x6 lun=0x0 cmd=0x37 rsp=0xc1): Invalid command\n"}
		}
		return outcome{0, fmt.Sprintf(" % x\n", g[:]), ""}
	case strings.HasSuffix(line, "raw 0x0c 0x02 0x0e 0x05 0x00 0x00"):
		card, told := p.machine.card()
		if !told {
			return outcome{1, "", "Unable to send RAW command (channel=0x0 netfn=0xc lun=0x0 cmd=0x2 rsp=0xc1): Invalid command\n"}
		}
		return outcome{0, fmt.Sprintf(" % x\n", card), ""}
	case strings.HasSuffix(line, "chassis power status"):
		switch p.machine.status(session) {
		case wordGarbage:
			return outcome{0, "ipmitool: error while loading shared libraries\n", ""}
		case wordOff:
			return outcome{0, "Chassis Power is off\n", ""}
		}
		return outcome{0, "Chassis Power is on\n", ""}
	case strings.HasSuffix(line, "chassis power off"), strings.HasSuffix(line, "chassis power on"):
		on := strings.HasSuffix(line, " on")
		if !p.machine.command(on) {
			return outcome{1, "", "Set Chassis Power Control to Down/Off failed: Insufficient privilege level\n"}
		}
		if on {
			return outcome{0, "Chassis Power Control: Up/On\n", ""}
		}
		return outcome{0, "Chassis Power Control: Down/Off\n", ""}
	}
	return outcome{1, "", "Invalid command: " + line + "\n"}
}

// agent answers as an agent of the fence-agents package does.
func (p *Program) agent(session int, c call) outcome {
	options := map[string]string{}
	for line := range strings.Lines(c.Input) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		options[name] = value
	}
	if options["action"] == "metadata" {
		return outcome{0, metadata, ""}
	}
	if p.machine.silent() || options["plug"] != "node1" || options["password"] != Password {
		return outcome{1, "", "Failed: Unable to connect/login to fencing device\n"}
	}
	switch options["action"] {
	case "status":
		switch p.machine.status(session) {
		case wordGarbage: // also how a shell reports a broken script
			return outcome{2, "", "/usr/sbin/fence_fake: 12: Syntax error: end of file unexpected\n"}
		case wordOff:
			return outcome{2, "Status: OFF\n", ""}
		}
		return outcome{0, "Status: ON\n", ""}
	case "off", "on":
		if !p.machine.command(options["action"] == "on") {
			return outcome{1, "", "Failed: no privilege, login was admin with " + options["password"] + "\n"}
		}
		return outcome{0, "Success: Powered " + strings.ToUpper(options["action"]) + "\n", ""}
	}
	return outcome{1, "", "Failed: unknown action\n"}
}

const metadata = `<?xml version="1.0" ?>
<resource-agent name="fence_fake" shortdesc="Fence agent of a test">
<parameters>
	<parameter name="action" unique="0" required="1"><content type="string" default="reboot"/></parameter>
	<parameter name="plug" unique="0" required="1"><content type="string"/></parameter>
	<parameter name="ssl_insecure" unique="0" required="0"><content type="boolean"/></parameter>
	<parameter name="password" unique="0" required="0"><content type="string"/></parameter>
</parameters>
<actions>
	<action name="on" automatic="0"/>
	<action name="off"/>
	<action name="status"/>
	<action name="metadata"/>
</actions>
</resource-agent>
`
