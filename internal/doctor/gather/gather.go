// Package gather reads what the doctor judges: the files of /proc, /sys and /etc
// below a root directory, which tests replace, the answers of the system's own
// programs, and what only a real machine can be asked (Probes). It changes nothing
// and judges nothing.
package gather

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/internal/guarded"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage/program"
	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// Machine is where to look.
type Machine struct {
	Root  string // "/", or a directory that stands for it
	Run   program.Runner
	Probe Probes
}

// Probes ask what no file below the root tells. One that is nil is not asked, and
// what it would have told is not known.
type Probes struct {
	// Measured is nil if a watchdog's reset time is measured and counts, and else why not.
	Measured func(n *config.Node, l watchdog.Listed) error
	// Read reads so often from a disk and gives what each took.
	Read func(path string, times int) ([]time.Duration, error)
	// Cards lists the addresses of this machine's network cards.
	Cards func() ([]Card, error)
	// Synced says whether the kernel's clock is kept.
	Synced func() (bool, error)
	// Room is the free and the total size of a file system, bytes.
	Room func(path string) (free, total uint64, err error)
	// Reservations reads what is reserved on a LUN.
	Reservations func(device string) (scsi.Report, error)
	// Certificate is when the certificate ends that is shown at an address.
	Certificate func(ctx context.Context, address string) (time.Time, error)
	// Controller is nil if the management controller of the node is this machine's.
	Controller func(ctx context.Context, n *config.Node) error
}

// Card is an address of a network card.
type Card struct {
	Name    string
	Address string // without its prefix
	Subnet  string // 10.0.0.0/24
}

// reads is how often a quorum disk is read for its latency.
const reads = 32

// Facts gathers what can be known of this machine as the node n; conf is the
// cluster's configuration, nil where it is not known because of why. It ends with
// ctx. What the daemons say is not asked for.
func (m *Machine) Facts(ctx context.Context, n *config.Node, conf *cluster.Config, why string) *doctor.Facts {
	f := &doctor.Facts{Node: doctor.Node{Name: n.Name, Emulated: n.Platform.Emulated, AcceptSoftdog: n.AcceptSoftdog, SingleLink: n.SingleLink}}
	f.Space = m.space(n)
	f.Disks = m.disks(ctx, n)
	f.Cluster.Kernel = m.line("proc/sys/kernel/osrelease")
	f.Cluster.Agents = m.agents(conf)
	f.Cluster.Certificates = m.certificates(ctx, n, time.Now())
	if f.Boot.Config = why; conf != nil {
		f.Boot.Config = ""
	}
	if n.Platform.Emulated {
		return f
	}
	f.Kernel = m.kernel()
	f.Dogs = m.dogs(n)
	f.Manager = m.manager()
	f.Paths = m.multipath(ctx, f.Disks)
	f.LUNs, f.Guards = m.luns(conf), guarded.Advice(conf, []string{n.Name})
	f.Power = m.power(ctx, n)
	f.Clock = m.clock()
	f.Sleep = m.sleep()
	f.Links = m.links(n)
	m.boot(ctx, &f.Boot, conf)
	return f
}

// path is a path below the root.
func (m *Machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.Root}, parts...)...)
}

// line is the first line of a file, "" where it cannot be read.
func (m *Machine) line(parts ...string) string {
	first, _, _ := strings.Cut(m.text(parts...), "\n")
	return strings.TrimSpace(first)
}

func (m *Machine) text(parts ...string) string {
	b, err := os.ReadFile(m.path(parts...))
	if err != nil {
		return ""
	}
	return string(b)
}

func (m *Machine) number(parts ...string) (int64, bool) {
	n, err := strconv.ParseInt(m.line(parts...), 10, 64)
	return n, err == nil
}

func (m *Machine) there(parts ...string) bool {
	_, err := os.Lstat(m.path(parts...))
	return err == nil
}

// setting finds a key in a configuration of systemd: its file, then the drop-ins of
// all places in the order of their names, the last one counts.
func (m *Machine) setting(name, key string) (value, file string) {
	files := map[string]string{}
	var names []string
	for _, dir := range []string{"usr/lib/systemd", "lib/systemd", "run/systemd", "etc/systemd"} {
		found, _ := filepath.Glob(m.path(dir, name+".d", "*.conf")) // fails only for a bad pattern
		for _, f := range found {
			if _, twice := files[filepath.Base(f)]; !twice {
				names = append(names, filepath.Base(f))
			}
			files[filepath.Base(f)] = f
		}
	}
	slices.Sort(names)
	all := []string{m.path("etc/systemd", name)}
	for _, n := range names {
		all = append(all, files[n])
	}
	for _, f := range all {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if k, v, is := strings.Cut(strings.TrimSpace(line), "="); is && strings.TrimSpace(k) == key {
				value, file = strings.TrimSpace(v), "/"+strings.TrimPrefix(strings.TrimPrefix(f, m.Root), "/")
			}
		}
	}
	return value, file
}
