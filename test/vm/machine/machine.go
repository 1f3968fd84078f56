package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// Machine is a machine, on or off. Its methods may be called by several goroutines.
type Machine struct {
	Name string
	Spec Spec
	dir  string

	power sync.Mutex // of who switches it

	mu   sync.Mutex // guards life
	life *life      // nil: it has no power
}

// life is what a machine has from one power-on to the power-off behind it.
type life struct {
	process *os.Process
	ended   chan struct{} // closed when QEMU has
	state   string        // how it has, behind ended
	qmp     *qmp
	agent   *agent
}

func (m *Machine) now() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

func (m *Machine) set(l *life) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life = l
}

// on gives what the machine has while it is on.
func (m *Machine) on() (*life, error) {
	if l := m.now(); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%s is off", m.Name)
}

// New gives a machine that is off. Its sockets and logs are in dir, whose path has to be short: a socket's has at most 107
// bytes.
func New(dir string, s Spec) *Machine { return &Machine{Name: s.Name, Spec: s, dir: dir} }

func (m *Machine) file(kind string) string { return filepath.Join(m.dir, m.Name+"."+kind) }

// Console, Log and Trouble are the files of what the kernel said, of what started programs printed, and of what QEMU had
// to say.
func (m *Machine) Console() string { return m.file("console") }

// Log is the file of what started programs printed.
func (m *Machine) Log() string { return m.file("log") }

// Trouble is the file of what QEMU had to say.
func (m *Machine) Trouble() string { return m.file("qemu") }

// PowerOn starts the machine and waits until its agent answers.
func (m *Machine) PowerOn(ctx context.Context) error {
	l, err := m.begin(ctx)
	if err == nil {
		_, err = l.agent.booted(ctx, 1)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; %s", m.Name, err, m.lastWords())
	}
	return nil
}

// begin starts QEMU and connects to it.
func (m *Machine) begin(ctx context.Context) (*life, error) {
	m.power.Lock()
	defer m.power.Unlock()
	if m.now() != nil {
		return nil, errors.New("it is on")
	}
	for _, s := range []string{"qmp", "ctl"} {
		if err := os.Remove(m.file(s)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	l, err := m.spawn()
	if err != nil {
		return nil, err
	}
	if err := m.connect(ctx, l); err != nil {
		return nil, errors.Join(err, l.kill())
	}
	m.set(l)
	return l, nil
}

// spawn starts QEMU. It ends with this process however that ends: the kernel kills it with the thread that made it, and
// that thread does nothing but wait for it.
func (m *Machine) spawn() (*life, error) {
	trouble, err := os.OpenFile(m.Trouble(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer trouble.Close()
	program, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, errors.New("no qemu-system-x86_64: run test/setup.sh as root, or apt-get install qemu-system-x86")
	}
	cmd := exec.Command("nice", append([]string{"-n", "5", program}, m.arguments()...)...)
	cmd.Stdout, cmd.Stderr = trouble, trouble
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started, l := make(chan error), &life{ended: make(chan struct{})}
	go func() { // ends with QEMU, which Kill ends
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()
		l.state = cmd.ProcessState.String()
		close(l.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	l.process = cmd.Process
	if err := os.WriteFile(m.file("pid"), fmt.Appendf(nil, "%d\n", l.process.Pid), 0o644); err != nil {
		return nil, errors.Join(err, l.kill())
	}
	return l, nil
}

func (m *Machine) connect(ctx context.Context, l *life) error {
	ctl, err := m.dial(ctx, l, "ctl")
	if err != nil {
		return err
	}
	l.agent = newAgent(ctl)
	control, err := m.dial(ctx, l, "qmp")
	if err != nil {
		return err
	}
	l.qmp, err = newQMP(ctx, control)
	return err
}

// dial connects to a socket that QEMU may not have made yet.
func (m *Machine) dial(ctx context.Context, l *life, kind string) (net.Conn, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", m.file(kind))
		if err == nil {
			return conn, nil
		}
		select {
		case <-tick.C:
		case <-l.ended:
			return nil, fmt.Errorf("QEMU did not start: %s", l.state)
		case <-ctx.Done():
			return nil, fmt.Errorf("QEMU did not start: %w", ctx.Err())
		}
	}
}

// lastWords are the ends of what QEMU and the kernel have said.
func (m *Machine) lastWords() string {
	var words []string
	for _, f := range []string{m.Trouble(), m.Console()} {
		text, err := os.ReadFile(f)
		if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); err == nil && len(text) > 0 {
			words = append(words, filepath.Base(f)+": "+strings.Join(lines[max(0, len(lines)-5):], " | "))
		}
	}
	return strings.Join(words, "; ")
}

// On says whether the machine has power.
func (m *Machine) On() bool {
	l := m.now()
	if l == nil {
		return false
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// PowerOff takes the power away: QEMU is killed and gone when it returns. Nothing of the machine can act after that but
// what its disks and networks have taken over already.
func (m *Machine) PowerOff() error {
	m.power.Lock()
	defer m.power.Unlock()
	l := m.now()
	if l == nil {
		return nil
	}
	m.set(nil)
	if err := l.kill(); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// quit is how long QEMU may take to end itself. It does not where a disk holds back its requests.
const quit = 1500 * time.Millisecond

// SwitchOff takes the power away through QEMU's control socket, and otherwise if that does not answer: as PowerOff it
// returns when the machine is gone.
func (m *Machine) SwitchOff() error {
	if l := m.now(); l != nil {
		ctx, cancel := context.WithTimeout(context.Background(), quit)
		defer cancel()
		if l.qmp.do(ctx, "quit", nil) == nil {
			select {
			case <-l.ended:
			case <-ctx.Done():
			}
		}
	}
	return m.PowerOff()
}

// kill ends QEMU, waits for that and closes what led to it.
func (l *life) kill() error {
	if err := l.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-l.ended:
	case <-time.After(30 * time.Second):
		return fmt.Errorf("QEMU (process %d) has not ended 30 s after SIGKILL", l.process.Pid)
	}
	var errs []error
	if l.qmp != nil {
		errs = append(errs, closed(l.qmp.conn))
	}
	if l.agent != nil {
		errs = append(errs, closed(l.agent.conn))
	}
	return errors.Join(errs...)
}

func closed(c io.Closer) error {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Ask has the agent carry out one request.
func (m *Machine) Ask(ctx context.Context, r wire.Request) (wire.Answer, error) {
	l, err := m.on()
	if err != nil {
		return wire.Answer{}, err
	}
	w, err := l.agent.ask(ctx, r)
	if err != nil {
		err = fmt.Errorf("%s: %w", m.Name, err)
	}
	return w, err
}

// Run runs a program inside to its end and returns what it printed; an exit status other than zero is an error.
func (m *Machine) Run(ctx context.Context, args ...string) (string, error) {
	r := wire.Request{Op: wire.Run, Args: args}
	if deadline, is := ctx.Deadline(); is {
		r.Timeout = time.Until(deadline)
	}
	w, err := m.Ask(ctx, r)
	if err == nil && w.Code != 0 {
		err = fmt.Errorf("%s: %s: exit status %d: %s", m.Name, strings.Join(args, " "), w.Code, w.Output)
	}
	return string(w.Output), err
}

// Start starts a program inside under a name and leaves it running.
func (m *Machine) Start(ctx context.Context, name string, args ...string) error {
	_, err := m.Ask(ctx, wire.Request{Op: wire.Start, Args: append([]string{name}, args...)})
	return err
}

// Write writes a file inside.
func (m *Machine) Write(ctx context.Context, name, content string) error {
	_, err := m.Ask(ctx, wire.Request{Op: wire.Write, Args: []string{name}, Data: []byte(content)})
	return err
}

// Read reads a file inside.
func (m *Machine) Read(ctx context.Context, name string) (string, error) {
	w, err := m.Ask(ctx, wire.Request{Op: wire.Read, Args: []string{name}})
	return string(w.Output), err
}

// AwaitEnd waits for the end of a program that Start has started under a name; Code is its exit status, Output how it ended in
// words.
func (m *Machine) AwaitEnd(ctx context.Context, name string) (wire.Answer, error) {
	l, err := m.on()
	if err != nil {
		return wire.Answer{}, err
	}
	w, err := l.agent.end(ctx, name)
	if err != nil {
		err = fmt.Errorf("%s: %w", m.Name, err)
	}
	return w, err
}

// Endings are the exit statuses with which the programs that were started under a name have ended since the machine's latest
// boot, -1 for one that was killed.
func (m *Machine) Endings(name string) []int {
	if l := m.now(); l != nil {
		return l.agent.endings(name)
	}
	return nil
}
