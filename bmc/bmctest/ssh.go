package bmctest

import (
	"fmt"
	"strings"
	"testing"
)

// sshScript plays ssh to a hypervisor: it asks for the password, and then runs
// what is typed, one line after the other.
const sshScript = `#!/bin/sh
ask() { %s='%s' '%s' "$@"; }
printf 'admin@hypervisor password: '
stty -echo 2>/dev/null
read -r password
stty echo 2>/dev/null
if ! IPMITOOL_PASSWORD="$password" ask login; then
	echo 'Permission denied, please try again.'
	exit 255
fi
while printf '[EXPECT]# ' && read -r line; do
	case "$line" in
	quit | exit | logout) exit 0 ;;
	esac
	ask $line
done
`

// NewSSH makes a program ssh behind which a hypervisor with virsh runs the
// machine, by the name node1.
func NewSSH(t testing.TB, m *Machine) *Program {
	p := &Program{machine: m}
	p.answer = p.virsh
	p.start(t, "ssh")
	return p
}

// virsh answers one line as a hypervisor's shell does (virsh of libvirt 9).
func (p *Program) virsh(session int, c call) outcome {
	state := func(word string) string {
		if word == wordOff {
			return "shut off"
		}
		return "running" // also while it is being destroyed
	}
	if p.machine.is(Garbage) && c.Args[0] == "virsh" {
		return outcome{127, "bash: virsh: command not found\n", ""}
	}
	switch strings.Join(c.Args, " ") {
	case "login":
		if c.Password != Password {
			return outcome{1, "", ""}
		}
		return outcome{}
	case "virsh domstate node1":
		return outcome{0, state(p.machine.status(session)) + "\n\n", ""}
	case "virsh list --all":
		return outcome{0, fmt.Sprintf(" Id   Name    State\n-----------------------\n 1    other   running\n -    node1   %s\n\n", state(p.machine.again())), ""}
	case "virsh destroy node1":
		p.machine.command(false)
		return outcome{0, "Domain 'node1' destroyed\n\n", ""}
	case "virsh start node1":
		p.machine.command(true)
		return outcome{0, "Domain 'node1' started\n\n", ""}
	}
	return outcome{1, "error: unknown command: '" + strings.Join(c.Args, " ") + "'\n", ""}
}
