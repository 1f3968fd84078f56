package watchdog

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// softdog is the kernel's software watchdog, ipmi the one of a management
// controller.
const (
	softdog = "softdog"
	ipmi    = "ipmi_watchdog"

	// ipmiLeast is the least timeout that a controller is armed with: while it
	// restarts itself, it keeps whoever feeds it waiting for seconds.
	ipmiLeast = 10 * time.Second
)

// Listed is what sysfs tells of a device, without opening it: listing a watchdog
// never arms it. A field that this kernel does not tell is zero, except Known*.
type Listed struct {
	Path       string // /dev/watchdogN
	Identity   string
	Driver     string // kernel driver
	State      string // "active", "inactive"
	Timeout    time.Duration
	MinTimeout time.Duration
	MaxTimeout time.Duration
	NoWayOut   bool
	MagicClose bool
	// OptionsKnown says that MagicClose was read and not merely unset.
	OptionsKnown bool
	// Parameters are the driver's module parameters, "name=value", sorted.
	Parameters []string
	// ResetLast says that the device itself claims the reset before this boot
	// (WDIOF_CARDRESET); few drivers tell.
	ResetLast  bool
	Pretimeout Pretimeout
	// Firmware is the version that the device itself reports, if it does.
	Firmware string
	Holders  []Holder
}

// Pretimeout is an interrupt that some devices raise before they reset.
type Pretimeout struct {
	Before   time.Duration // the reset; 0: there is none
	Governor string        // what the kernel does then: noop, which logs a line, or panic
}

// Holder is a process that has a watchdog device open.
type Holder struct {
	PID  int
	Name string
}

// List describes every watchdog of this machine, sorted by path, and who holds
// it. It reads sysfs and /proc only. Holders of other users are seen by root only.
func List() ([]Listed, error) { return newHost().list() }

// ListIn is List for the machine whose /sys and /proc stand below root. Below
// another root than / devices are told apart by their names alone.
func ListIn(root string) ([]Listed, error) {
	h := newHost()
	h.sys, h.proc = filepath.Join(root, "sys"), filepath.Join(root, "proc")
	if filepath.Clean(root) != "/" {
		h.rdev = byName
	}
	return h.list()
}

// byName stands for the number of a device that is not there.
func byName(path string) (uint64, error) {
	if to, err := os.Readlink(path); err == nil {
		path = to
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(path)) // never fails
	return h.Sum64(), nil
}

// host is where the kernel's files are; tests point it elsewhere.
type host struct {
	sys, proc string
	rdev      func(path string) (uint64, error)
}

func newHost() host {
	return host{sys: "/sys", proc: "/proc", rdev: deviceNumber}
}

func deviceNumber(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return 0, fmt.Errorf("%s is not a character device", path)
	}
	return st.Rdev, nil
}

func (h host) list() ([]Listed, error) {
	dirs, err := filepath.Glob(filepath.Join(h.sys, "class/watchdog/watchdog*"))
	if err != nil {
		return nil, err
	}
	sort.Strings(dirs)
	out := make([]Listed, 0, len(dirs)+1)
	if l, ok := h.alone(); ok {
		l.Holders = h.holders(l.Path)
		out = append(out, l)
	}
	for _, dir := range dirs {
		l := h.describe(dir)
		l.Holders = h.holders(l.Path)
		out = append(out, l)
	}
	return out, nil
}

// find describes the device at path, following links and the legacy alias
// /dev/watchdog, by its device number. What is not found is all zero.
func (h host) find(path string) Listed {
	rdev, err := h.rdev(path)
	if err != nil {
		return Listed{Path: path}
	}
	number := fmt.Sprintf("%d:%d", unix.Major(rdev), unix.Minor(rdev))
	if l, ok := h.alone(); ok && number == legacyNumber {
		return l
	}
	if number == legacyNumber {
		return h.describe(filepath.Join(h.sys, "class/watchdog/watchdog0"))
	}
	dirs, _ := filepath.Glob(filepath.Join(h.sys, "class/watchdog/watchdog*"))
	for _, dir := range dirs {
		if readLine(dir, "dev") == number {
			return h.describe(dir)
		}
	}
	return Listed{Path: path}
}

// legacyNumber is /dev/watchdog, the misc device that is an alias of watchdog0.
const legacyNumber = "10:130"

// alone describes /dev/watchdog where it is no alias: a driver older than the
// kernel's watchdog core has made it, and sysfs knows little of it. Of these the
// one that servers have is the management controller's.
func (h host) alone() (Listed, bool) {
	if !isThere(h.sys, "class/misc/watchdog") || isThere(h.sys, "class/watchdog/watchdog0") {
		return Listed{}, false
	}
	l := Listed{Path: "/dev/watchdog"}
	if isThere(h.sys, "module", ipmi) {
		l.Driver, l.Parameters, l.MinTimeout = ipmi, h.parameters(ipmi), ipmiLeast
		l.NoWayOut = slices.Contains(l.Parameters, "nowayout=Y")
	}
	return l, true
}

func isThere(path ...string) bool {
	_, err := os.Stat(filepath.Join(path...))
	return err == nil
}

func (h host) describe(dir string) Listed {
	l := Listed{
		Path:       "/dev/" + filepath.Base(dir),
		Identity:   readLine(dir, "identity"),
		State:      readLine(dir, "state"),
		Timeout:    readSeconds(dir, "timeout"),
		MinTimeout: readSeconds(dir, "min_timeout"),
		MaxTimeout: readSeconds(dir, "max_timeout"),
		NoWayOut:   readLine(dir, "nowayout") == "1",
		Firmware:   readLine(dir, "fw_version"),
	}
	link, _ := os.Readlink(filepath.Join(dir, "device/driver"))
	if link != "" {
		link = filepath.Base(link)
	}
	l.Driver = driverName(link, l.Identity)
	if options, err := strconv.ParseUint(readLine(dir, "options"), 0, 32); err == nil {
		l.OptionsKnown = true
		l.MagicClose = options&unix.WDIOF_MAGICCLOSE != 0
	}
	if status, err := strconv.ParseUint(readLine(dir, "bootstatus"), 0, 32); err == nil {
		l.ResetLast = status&unix.WDIOF_CARDRESET != 0
	}
	l.Pretimeout = Pretimeout{Before: readSeconds(dir, "pretimeout"), Governor: readLine(dir, "pretimeout_governor")}
	module, err := os.Readlink(filepath.Join(dir, "device/driver/module"))
	if err != nil {
		module = l.Driver
	}
	l.Parameters = h.parameters(filepath.Base(module))
	return l
}

// driverName is the driver that sysfs names. Some devices have no parent there; their
// drivers are known by what they call themselves.
func driverName(link, identity string) string {
	if link != "" {
		return link
	}
	switch identity {
	case "Software Watchdog":
		return softdog
	case "i6300ESB timer":
		return "i6300esb"
	case "IPMI":
		return ipmi
	}
	return ""
}

// parameters reads /sys/module/<driver>/parameters. The module of a driver may
// be spelled with underscores where the driver has hyphens.
func (h host) parameters(driver string) []string {
	if driver == "" || driver == "." {
		return nil
	}
	module := strings.ReplaceAll(driver, "-", "_")
	files, _ := filepath.Glob(filepath.Join(h.sys, "module", module, "parameters/*"))
	sort.Strings(files)
	out := make([]string, 0, len(files))
	for _, f := range files {
		out = append(out, filepath.Base(f)+"="+readLine(filepath.Dir(f), filepath.Base(f)))
	}
	return out
}

// accepts refuses what can be known to fail without arming the device.
func (l Listed) accepts(timeout time.Duration) error {
	if l.MinTimeout > 0 && timeout < l.MinTimeout {
		return fmt.Errorf("timeout %v is below the driver's minimum of %v", timeout, l.MinTimeout)
	}
	if l.MaxTimeout > 0 && timeout > l.MaxTimeout {
		return fmt.Errorf("timeout %v is above the driver's maximum of %v", timeout, l.MaxTimeout)
	}
	if l.OptionsKnown && !l.MagicClose && !l.NoWayOut {
		return ErrStopsOnClose
	}
	return nil
}

func readLine(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func readSeconds(dir, name string) time.Duration {
	n, err := strconv.ParseUint(readLine(dir, name), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
