package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// busVariable names another bus than the manager's own socket, for tests and for
// machines where the manager is reached in another way: an address as D-Bus
// writes it.
const busVariable = "HOLDFAST_SYSTEMD_BUS"

// privateSocket is where root reaches the manager without a message bus between.
const privateSocket = "/run/systemd/private"

// Dial connects to the system's service manager: over its private socket, which
// needs no message bus, or else over the system bus. The connection ends with the
// context.
func Dial(ctx context.Context) (*dbus.Conn, error) {
	if address := os.Getenv(busVariable); address != "" {
		return dbus.NewConnection(func() (*godbus.Conn, error) {
			return godbus.Connect(address, godbus.WithContext(ctx))
		})
	}
	if _, err := os.Stat(privateSocket); err == nil {
		if c, err := dbus.NewSystemdConnectionContext(ctx); err == nil {
			return c, nil
		}
	}
	c, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("systemd cannot be reached: %w; is it this node's service manager?", err)
	}
	return c, nil
}

// state is what the manager knows of a unit.
type state struct {
	load, active, sub string
	enabled           string // UnitFileState
	job               bool   // something is queued for it
	condition         bool   // its conditions were met at the last start
	result            string // of a service
	status            int32  // exit code of its main process
	code              int32  // how that ended, as si_code of waitid(2)
	cgroup            string
}

// look asks for the state of a unit; a unit that was never heard of has the load
// state not-found.
func look(ctx context.Context, c *dbus.Conn, unit string) (state, error) {
	p, err := c.GetUnitPropertiesContext(ctx, unit)
	if err != nil {
		return state{}, fmt.Errorf("unit %s: %w", unit, err)
	}
	s := state{
		load: text(p["LoadState"]), active: text(p["ActiveState"]), sub: text(p["SubState"]), enabled: text(p["UnitFileState"]),
		condition: p["ConditionResult"] != false,
	}
	if job, ok := p["Job"].([]any); ok && len(job) > 0 {
		number, _ := job[0].(uint32)
		s.job = number != 0
	}
	kind := typeOf(unit)
	if s.load != "loaded" || kind == "" {
		return s, nil
	}
	q, err := c.GetUnitTypePropertiesContext(ctx, unit, kind)
	if err != nil {
		return s, fmt.Errorf("unit %s: %w", unit, err)
	}
	s.result, s.cgroup = text(q["Result"]), text(q["ControlGroup"])
	s.status, _ = q["ExecMainStatus"].(int32)
	s.code, _ = q["ExecMainCode"].(int32)
	return s, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// typeOf is the D-Bus interface of a unit's type, empty for one without properties
// that are of use here.
func typeOf(unit string) string {
	return map[string]string{
		".service": "Service", ".socket": "Socket", ".mount": "Mount", ".timer": "Timer", ".path": "Path", ".slice": "Slice",
	}[filepath.Ext(unit)]
}

// dead says that nothing of it runs and nothing is on its way.
func (s state) dead() bool { return (s.active == "inactive" || s.active == "failed") && !s.job }

func (s state) running() bool {
	return s.active == "active" || s.active == "reloading" || s.active == "refreshing"
}

// cause says why a service is not running, in the manager's terms.
func (s state) cause(unit string) string {
	words := s.active + " (" + s.sub + ")"
	if s.result != "" && s.result != "success" {
		words += ", result " + s.result
	}
	switch s.code { // CLD_EXITED, CLD_KILLED, CLD_DUMPED
	case 1:
		words += ", its main process exited with " + strconv.Itoa(int(s.status))
	case 2, 3:
		words += ", its main process was killed by signal " + strconv.Itoa(int(s.status))
	}
	return words + "; journalctl -u " + unit
}

// left are the processes in the unit's control group, which outlive it where its
// KillMode allows that. What cannot be read is an error: it is not known.
func (s state) left() ([]int, error) {
	if s.cgroup == "" {
		return nil, nil
	}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		var pids []int
		dir := filepath.Join(root, s.cgroup)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return ignoreGone(err)
			}
			list, err := os.ReadFile(path)
			for _, word := range strings.Fields(string(list)) {
				if pid, err := strconv.Atoi(word); err == nil {
					pids = append(pids, pid)
				}
			}
			return ignoreGone(err)
		})
		return pids, err
	}
	return nil, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
