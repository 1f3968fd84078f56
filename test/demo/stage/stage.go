package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/test/demo/ledger"
	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/task"
	"github.com/holdfast-ha/holdfast/test/power"
)

// raisePatience bounds the time until everything runs.
const raisePatience = 90 * time.Second

// Timeout is that of every watchdog, as it is qualified, unless Options say
// otherwise.
const Timeout = 2 * time.Second

// Options say what to put up.
type Options struct {
	// Bin is the folder with holdfast, holdfastd, holdfast-guard and demo.
	Bin string
	// Names of the nodes; default alpha, beta, gamma.
	Names    []string
	Services []Service
	// Disks is the number of quorum disks, 1 or 3; default 1.
	Disks int
	// ClusterName, default demo.
	ClusterName string
	// Within is failover_within; zero: the smallest that is safe here.
	Within time.Duration
	// Root: namespaces, loop devices, cgroups and mounts; see Able.
	Root bool
	// Timeout of every watchdog, as it is qualified; default Timeout.
	Timeout time.Duration
	// Machines, if set, makes every node a machine with a system of its own. Root only.
	Machines *Machines
	// OneHolder leaves the second holder of the watchdogs out.
	OneHolder bool
	// Controllers, if set, gives the text that node.yaml of a node has under
	// controllers; every node is then fenced by them as well. It is called once
	// the nodes are known to the power emulator, before their daemons start.
	Controllers func(s *Stage) (string, error)
	// DaemonEnv are environment entries NAME=VALUE for the daemons.
	DaemonEnv []string
	// Scenery puts services of somebody's own in the place of the stage's; nil: none.
	Scenery *Scenery
	// Logs, if set, is a folder that gets a folder, at the end, with what every
	// process has printed.
	Logs string
	// Say is told, in a few words, what is being done; nil: nobody is.
	Say func(text string)
}

// Machines are nodes that systemd boots, in namespaces, from one Debian tree.
type Machines struct {
	// Tree is the root of the tree, which stays as it is.
	Tree string
	// Furnish, if set, puts files of a machine's own over the tree before it boots.
	Furnish func(s *Stage, n *Node, root string) error
	// Bare leaves Holdfast out: the machines have power, and their own system.
	Bare bool
	// Watchdogs are files that stand for /dev/watchdog, by the machine's name.
	Watchdogs map[string]string
}

// Stage is a cluster on this machine.
type Stage struct {
	Options
	Nodes    []*Node
	Services []*Service
	Power    *power.Control

	id      string // names everything
	base    string // folder
	cgroup  string // folder of all nodes' cgroups, root only
	lock    *os.File
	tMax    time.Duration // of the watchdogs, as measured
	quorums []string      // names of the quorum disks, those that were replaced too

	outside  *room // root only
	emulator *task.Task

	mu      sync.Mutex
	closing bool
	kept    []*task.Task // launched by users of the stage; guarded by mu
}

// Able says what this machine lacks for a stage with namespaces, loop devices
// and mounts; nil: nothing.
func Able() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: network namespaces, loop devices, mounts and cgroups are root's to make; run as root")
	}
	if _, err := groups.FindCgroup2(); err != nil {
		return err
	}
	if err := unix.Access("/dev/loop-control", unix.W_OK); err != nil {
		return fmt.Errorf("/dev/loop-control: %w (modprobe loop)", err)
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return fmt.Errorf("mkfs.ext4 is not installed (package e2fsprogs): %w", err)
	}
	return nil
}

// Raise puts a cluster up: every node a member, every service running. When it
// fails everything is gone again.
func Raise(ctx context.Context, o Options) (*Stage, error) {
	s := &Stage{Options: o}
	if len(s.Names) == 0 {
		s.Names = []string{"alpha", "beta", "gamma"}
	}
	if s.Options.Timeout == 0 {
		s.Options.Timeout = Timeout
	}
	if s.ClusterName == "" {
		s.ClusterName = "demo"
	}
	if s.Say == nil {
		s.Say = func(string) {}
	}
	for i, v := range o.Services {
		v.index, v.stage = i, s
		s.Services = append(s.Services, &v)
	}
	ctx, cancel := context.WithTimeout(ctx, raisePatience)
	defer cancel()
	if err := s.raise(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stage) raise(ctx context.Context) error {
	if err := s.found(); err != nil {
		return err
	}
	s.Say("making disks and networks")
	if err := s.makeDisks(ctx); err != nil {
		return err
	}
	if s.Root {
		var err error
		if s.outside, err = s.openRoom("outside", "", ""); err != nil {
			return err
		}
		if err := s.makeOutside(); err != nil {
			return err
		}
	}
	s.Say("starting the power emulator, measuring its watchdogs")
	if err := s.startEmulator(); err != nil {
		return err
	}
	for i, name := range s.Names {
		n := &Node{Name: name, ID: i + 1, stage: s}
		s.Nodes = append(s.Nodes, n)
		if err := n.build(); err != nil {
			return fmt.Errorf("node %s: %w", name, err)
		}
	}
	if s.Within == 0 {
		var err error
		if s.Within, err = s.smallest(); err != nil {
			return err
		}
	}
	if s.bare() || s.foreign() && s.Scenery.Unformed {
		return s.powerUp()
	}
	return s.form(ctx)
}

func (s *Stage) powerUp() error {
	for _, n := range s.Nodes {
		if err := n.PowerUp(); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return nil
}

// found takes a name, its lock and its folder.
func (s *Stage) found() error {
	root := os.TempDir()
	if s.Root {
		root = "/run"
	}
	for i := 0; s.lock == nil; i++ {
		s.id = fmt.Sprintf("%s%d-%d", remains.Prefix, os.Getpid(), i)
		lock, err := remains.Claim(filepath.Join(root, s.id+".lock"))
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(root, s.id)); err == nil && lock != nil {
			_ = lock.Close() // another stage of this process, or a dead one's
			continue
		}
		s.lock = lock
	}
	s.base = filepath.Join(root, s.id)
	if err := os.Mkdir(s.base, 0o755); err != nil {
		return err
	}
	if s.Root {
		if err := unix.Mount("hfdemo", s.base, "tmpfs", 0, "size=1g,mode=755"); err != nil {
			return fmt.Errorf("mount a tmpfs at %s: %w", s.base, err)
		}
		group, err := groups.FindCgroup2()
		if err != nil {
			return err
		}
		s.cgroup = filepath.Join(group, s.id)
	}
	for _, d := range []string{"log", "disks", "mnt"} {
		if err := os.Mkdir(filepath.Join(s.base, d), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) powerSocket() string { return filepath.Join(s.base, "power.sock") }

// PowerSocket is the Unix socket of the power emulator.
func (s *Stage) PowerSocket() string { return s.powerSocket() }

func (s *Stage) startEmulator() error {
	cmd := exec.Command(s.program("demo"), "emulator", "-stdin", "-socket", s.powerSocket(), "-log", filepath.Join(s.base, "log", "power"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	if s.emulator, err = s.start("emulator", cmd, nil); err != nil {
		return err
	}
	if err := awaitReady(out); err != nil {
		return fmt.Errorf("power emulator: %w; %s", err, s.emulator.LastWords())
	}
	s.Power, err = power.DialControl(s.powerSocket())
	return err
}

// smallest is the least failover_within that is safe with these watchdogs.
func (s *Stage) smallest() (time.Duration, error) {
	in := timing.Input{SecondHolder: !s.OneHolder, Grace: timing.DefaultGrace}
	for _, chip := range []string{SoftChip, HardChip} {
		in.Devices = append(in.Devices, timing.Device{
			Name: chip, Class: timing.Qualified, Software: chip == SoftChip, Timeout: s.Options.Timeout, TMax: s.tMax, At: s.Options.Timeout,
		})
	}
	return timing.SmallestB(in)
}

// File is the path of a file that ends with the stage.
func (s *Stage) File(name string) string { return filepath.Join(s.base, name) }

// program is the path of one of the programs.
func (s *Stage) program(name string) string { return filepath.Join(s.Bin, name) }

// Node returns a node by its name; nil: there is none.
func (s *Stage) Node(name string) *Node {
	for _, n := range s.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// loopback is an address for what has none of its own: not the same for two
// stages on one machine.
func (s *Stage) loopback(host int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8&63, pid&255, host)
}

// Client starts a recording client of a service, outside of every node.
func (s *Stage) Client(v *Service, every time.Duration) (*ledger.Client, error) {
	return s.ClientOf(v, v.URL(), every)
}

// ClientOf is Client by a URL that package ledger knows.
func (s *Stage) ClientOf(v *Service, url string, every time.Duration) (*ledger.Client, error) {
	cmd := exec.Command(s.program("demo"), "client", "-url", url, "-every", every.String(),
		"-name", v.Name, "-record", filepath.Join(s.base, "log", "client-"+v.Name))
	s.step(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not a pipe of cmd: that one is closed at the process's end, read or not.
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = theirs
	p, err := s.start("client-"+v.Name+"-errors", cmd, nil)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	s.keep(p)
	return ledger.Follow(in, out), nil
}

// step makes a command one outside of every node, where the clients are.
func (s *Stage) step(cmd *exec.Cmd) {
	if s.Root {
		cmd.Args = append([]string{s.program("demo"), "enter", "-room", fmt.Sprint(s.outside.PID()), cmd.Path}, cmd.Args[1:]...)
		cmd.Path = s.program("demo")
	}
}

func (s *Stage) keep(p *task.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, p)
}

// output runs a command to its end.
func (s *Stage) output(name string, cmd *exec.Cmd, n *Node) (string, error) {
	var out bytes.Buffer
	cmd.Stdout = &out
	p, err := s.start(name, cmd, n)
	if err != nil {
		return "", err
	}
	<-p.Ended
	if p.Err() != nil {
		return out.String(), fmt.Errorf("%w: %s", p.Err(), p.LastWords())
	}
	return out.String(), nil
}

// Close ends every process of the stage and removes everything that it made.
// What cannot be removed is in the error. It may be called twice.
func (s *Stage) Close() error {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.mu.Unlock()
	if !first || s.base == "" {
		return nil
	}
	var errs []error
	if s.Logs != "" {
		errs = append(errs, os.CopyFS(filepath.Join(s.Logs, s.id), os.DirFS(filepath.Join(s.base, "log"))))
	}
	if s.Power != nil {
		errs = append(errs, s.Power.Close())
	}
	for _, n := range s.Nodes {
		if n.cardsOf != nil {
			n.cardsOf.Close()
		}
	}
	errs = append(errs, remains.Clear(s.base))
	for _, p := range s.processes() {
		errs = append(errs, p.Await(task.KillPatience)) // reap it
	}
	if s.lock != nil {
		errs = append(errs, os.Remove(s.base+".lock"), s.lock.Close())
	}
	return errors.Join(errs...)
}

func (s *Stage) processes() []*task.Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append([]*task.Task{s.emulator}, s.kept...)
	if s.outside != nil {
		all = append(all, s.outside.Task)
	}
	for _, n := range s.Nodes {
		all = append(append(all, n.daemon, n.guard, n.holder), n.caches...)
		if n.room != nil {
			all = append(all, n.room.Task)
		}
	}
	var started []*task.Task
	for _, p := range all {
		if p != nil {
			started = append(started, p)
		}
	}
	return started
}
