// Package agents says how the operations of services run on this node: as
// processes of the daemon's own program, in cgroups below the daemon's.
package agents

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/resources/kinds"
	"github.com/holdfast-ha/holdfast/resources/secret"
)

// self is the program that runs, also when its file has been replaced by a newer
// one: an operation is of the same version as the daemon that wants it.
const self = "/proc/self/exe"

// NewRunner keeps the processes of services in cgroups, but for a node of a power
// emulator that names none.
func NewRunner(node *config.Node, log zerolog.Logger) (*resources.Runner, error) {
	where, err := newGroups(node)
	if err != nil {
		return nil, err
	}
	known := kinds.All()
	return resources.NewRunner(resources.RunnerConfig{
		Groups: where, AgentCommand: []string{self, "agent"}, Env: Environment(node), Advised: known.Advised, Glance: known.Glance, Watchers: known.Watchers(),
		Secrets: secret.At(filepath.Join(filepath.Dir(node.Key), "secrets")),
		OnStep: func(s resources.Step) {
			level := zerolog.InfoLevel
			// What would not run here is asked again and again, and told by whoever asks.
			if s.Verb == resources.VerbFit || s.Verb == resources.VerbCheck && s.Outcome == resources.OK {
				level = zerolog.DebugLevel
			} else if s.Outcome == resources.Failed || s.Outcome == resources.Unknown {
				level = zerolog.WarnLevel
			}
			log.WithLevel(level).Str("service", s.Service).Uint32("term", s.Term).Str("member", s.Member).
				Str("verb", string(s.Verb)).Stringer("outcome", s.Outcome).Dur("took", s.Took).Strs("holders", s.Holders).Msg(s.Text)
		},
	}), nil
}

func newGroups(node *config.Node) (resources.Groups, error) {
	root, err := Services(node)
	switch {
	case err != nil:
		return nil, err
	case root == "":
		return groups.NewProcessGroups(filepath.Join(node.Dirs.Run, "groups"))
	}
	return groups.NewCgroups(root)
}

// Services is the folder with a cgroup for each service; empty for a node of a power
// emulator that names none.
func Services(node *config.Node) (string, error) {
	if node.Dirs.Cgroup != "" || node.Platform.Emulated {
		return node.Dirs.Cgroup, nil
	}
	root, err := Cgroup()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "services"), nil
}

// Cgroup is the daemon's own cgroup of the unified hierarchy.
func Cgroup() (string, error) {
	root, err := groups.FindCgroup2()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(text) {
		if path, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("0::")); ok {
			return filepath.Join(root, string(path)), nil
		}
	}
	return "", errors.New("this process is in no cgroup of version 2: set directories.cgroup in node.yaml")
}

// Environment is what every operation finds in its environment beside the runner's
// own entries: on which node it runs, and where that keeps what a boot
// forgets. On an emulated node it inherits the daemon's environment too, for a power emulator may know the processes of a node
// by a mark there.
func Environment(node *config.Node) []string {
	env := []string{"HOLDFAST_NODE=" + node.Name, "HOLDFAST_RUN=" + node.Dirs.Run}
	if node.Platform.Emulated {
		env = append(env, os.Environ()...)
	}
	return env
}

// Unprotect gives an operation the kernel's ordinary protection from running out
// of memory: the daemon has a better one, which its services must not inherit.
func Unprotect() error {
	return os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)
}
