package stage

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/demo/volatile"
)

// Scenery is somebody's own services in the place of the stage's, with what they
// need. Only a stage made by root has it.
type Scenery struct {
	// Configuration is the text that is applied once the nodes are members; empty:
	// Apply does it later. The Services of the Options name what is in it.
	Configuration string
	// Disks are data disks, empty ones, which all nodes have.
	Disks []DataDisk
	// Fresh are folders of this machine in whose place every node has an empty one of its
	// own, as if nothing had been there.
	Fresh []string
	// Unformed leaves the making of the cluster to the caller: the nodes have power,
	// and nothing runs.
	Unformed bool
}

// DataDisk is a disk for services.
type DataDisk struct {
	Name string // all nodes find it at DiskPath of that
	Size int64  // bytes
	// Volatile puts a cache before the disk that forgets, when the node loses its
	// power, whatever was not flushed; see package volatile.
	Volatile bool
}

// DiskPath is a data disk by the name that every node has for it.
func (s *Stage) DiskPath(name string) string { return filepath.Join(s.shown(), name) }

// foreign says that the services are not the stage's own.
func (s *Stage) foreign() bool { return s.Scenery != nil }

// makeScenery makes the files of the data disks.
func (s *Stage) makeScenery() error {
	if !s.foreign() {
		return nil
	}
	if !s.Root {
		return errors.New("services of one's own need disks and networks: run as root")
	}
	for _, d := range s.Scenery.Disks {
		if err := sparse(s.shared(d.Name), d.Size); err != nil {
			return err
		}
	}
	return nil
}

// fresh lists the folders in whose place the nodes have their own.
func (s *Stage) fresh() []string {
	if !s.foreign() {
		return nil
	}
	return s.Scenery.Fresh
}

// attachScenery gives the node the data disks.
func (n *Node) attachScenery() error {
	if !n.stage.foreign() {
		return nil
	}
	n.caches = nil
	for _, d := range n.stage.Scenery.Disks {
		attach := n.attachDisk
		if d.Volatile {
			attach = n.attachVolatile
		}
		if err := attach(d.Name); err != nil {
			return err
		}
	}
	return nil
}

// attachVolatile gives the node a disk behind a cache of its own, which is a
// process beside the node: it dies first when the node loses its power.
func (n *Node) attachVolatile(name string) error {
	at := filepath.Join(n.dir("caches"), name)
	_ = unix.Unmount(at, unix.MNT_DETACH) // that of a former life, if there was one
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(n.stage.program("demo"), "volatile", "-file", n.stage.shared(name), "-at", at)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p, err := n.stage.start(n.Name+"-cache-"+name, cmd, nil)
	if err != nil {
		return err
	}
	n.caches = append(n.caches, p)
	if err := awaitReady(out); err != nil {
		return errors.Join(err, errors.New(p.LastWords()))
	}
	return n.attach(name, volatile.Disk(at))
}

// cachePIDs are the processes that hold what the node's disks have not been made to keep.
func (n *Node) cachePIDs() []int {
	var pids []int
	for _, p := range n.caches {
		pids = append(pids, p.PID())
	}
	return pids
}

// Apply gives the cluster a configuration in the place of the former one, and waits
// until all Services run.
func (s *Stage) Apply(ctx context.Context, text string) error {
	file := filepath.Join(s.base, "services.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	s.Say(s.Nodes[0].Name + "# holdfast apply -f services.yaml")
	if _, err := s.Nodes[0].Holdfast(ctx, "apply", "--yes", "-f", file); err != nil {
		return err
	}
	return s.AwaitRunning(ctx)
}

// shellPatience bounds what Shell waits for.
const shellPatience = time.Minute

// Shell runs a script on the node, as an administrator types it, and returns what
// it prints. The first command that fails ends it.
func (n *Node) Shell(script string) (string, error) { return n.stage.shell(n.Name+"-shell", script, n) }

// Shell runs a script outside of every node, where the clients are.
func (s *Stage) Shell(script string) (string, error) { return s.shell("outside-shell", script, nil) }

func (s *Stage) shell(name, script string, n *Node) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), shellPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", script)
	if n == nil {
		s.step(cmd)
	}
	return s.output(name, cmd, n)
}
