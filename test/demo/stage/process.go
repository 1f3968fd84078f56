package stage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/holdfast-ha/holdfast/test/demo/remains"
	"github.com/holdfast-ha/holdfast/test/demo/task"
)

// start starts a command. What it prints goes to a file of the given name, with
// standard output as well unless that is wanted otherwise. With a node the
// process becomes part of it: it enters the node's room and dies with its power.
func (s *Stage) start(name string, cmd *exec.Cmd, n *Node) (*task.Task, error) {
	return s.startWith(name, cmd, n, 0)
}

// startWith starts the process in new namespaces as well.
func (s *Stage) startWith(name string, cmd *exec.Cmd, n *Node, namespaces uintptr) (*task.Task, error) {
	cmd.Env = append(append(cleanEnv(), cmd.Env...), remains.Mark+"="+s.id)
	if n != nil {
		undo, err := n.adopt(name, cmd, namespaces)
		if err != nil {
			return nil, err
		}
		defer undo()
	}
	return task.Start(name, filepath.Join(s.base, "log", name), cmd)
}

// cleanEnv is this process's environment without marks of its own.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "HFDEMO_") {
			env = append(env, e)
		}
	}
	return env
}
