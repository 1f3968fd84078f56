package guardwire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Settings is what the guard reads at its start: a flat file that the
// administrator's tool writes from node.yaml and from the quorum disk, so that
// the guard needs no parser for either. One "key = value" a line; blank lines
// and lines that begin with # say nothing. Every key but those marked as
// optional or repeatable stands exactly once.
//
//	node = 1                              id of this node's slot, 1 to 255
//	name = alpha                          for logs and for the power emulator
//	cluster = 0f1e...                     identity of the cluster
//	nmax = 16                             slots of the beat table
//	sector = 512                          bytes: 512 or 4096, of the layout
//	epoch = 1                             optional: of the disk set; see package cluster
//	disk = PATH uuid=0f1e... [set=both]   repeatable, in the order of the disk
//	                                      set; set=old or new while it changes
//	key = PATH                            the cluster's key file
//	watchdog = DEVICE timeout=5s          repeatable, may be absent; a device that
//	                                      interrupts before has pretimeout=1s too
//	accept_softdog = no                   the administrator's word, in writing
//	mail_off = stay                       optional: or power-off, at the boot after
//	run = /run/holdfast                   socket, lock and mark of the guard
//	holder = PATH                         optional: socket of a holder process
//	emulator = PATH                       optional: socket of a power emulator
//	pause_bound = 0s                      how long a hypervisor may stop us
//	drain = 1s                            T_z: writes of a dead host are over
//	records = PATH                        optional: qualification records
//
// Values have no quotes: a path may hold blanks, but not " uuid=", " set=" or
// " timeout=", nor a line break.
type Settings struct {
	Node        ident.NodeID
	Name        string
	Cluster     ident.UUID
	Layout      Layout
	Disks       []DiskSetting
	Key         string
	Watchdogs   []WatchdogSetting
	AcceptSoft  bool
	PowerOff    bool // mail "off" powers the node off, instead of only keeping it out
	Run         string
	Holder      string
	Emulator    string
	PauseBound  time.Duration
	Drain       time.Duration
	RecordsPath string
}

// Layout is what the guard has to know of the quorum disks beforehand.
type Layout struct {
	NMax   int // slots
	Sector int // bytes
	Epoch  int // of the set of disks: those of another one are refused
}

// DiskSetting is one quorum disk: where it is and which one it must be.
type DiskSetting struct {
	Path string
	UUID ident.UUID
	Set  DiskSet
}

// DiskSet says to which set a disk belongs while one is exchanged for another.
type DiskSet uint8

// Both is the rule; without a change in progress every disk is in both.
const (
	Both DiskSet = iota
	OldSet
	NewSet
)

// WatchdogSetting is one device to feed.
type WatchdogSetting struct {
	Device     string
	Timeout    time.Duration
	Pretimeout time.Duration // before the reset, for an interrupt; 0: none
}

// String returns the word of the file.
func (d DiskSet) String() string { return [...]string{"both", "old", "new", "?"}[d&3] }

// SettingsError says which line of which file is wrong, and why.
type SettingsError struct {
	File string
	Line int // 0: the file as a whole
	Err  error
}

// Error reads "guard.conf:7: sector: ...".
func (e *SettingsError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *SettingsError) Unwrap() error { return e.Err }

// key is one line's meaning.
type key struct {
	set        func(*Settings, string) error
	get        func(*Settings) []string // values to write; empty: leave it out
	optional   bool
	repeatable bool
}

// ParseSettings reads a settings file; name is only for the errors, which are
// *SettingsError.
func ParseSettings(name string, text []byte) (*Settings, error) {
	s, all, seen := &Settings{}, keys(), map[string]int{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.line(all, seen, i+1, line); err != nil {
			return nil, &SettingsError{name, i + 1, err}
		}
	}
	for _, k := range order() {
		if seen[k] == 0 && !all[k].optional {
			return nil, &SettingsError{name, 0, fmt.Errorf("%s is missing", k)}
		}
	}
	if err := s.validate(); err != nil {
		return nil, &SettingsError{name, 0, err}
	}
	return s, nil
}

func (s *Settings) line(all map[string]key, seen map[string]int, n int, line string) error {
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return errors.New(`want "key = value"`)
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	k, ok := all[name]
	switch {
	case !ok:
		return fmt.Errorf("unknown key %q; known are %s", name, strings.Join(order(), ", "))
	case seen[name] != 0 && !k.repeatable:
		return fmt.Errorf("%s was set in line %d already", name, seen[name])
	case value == "":
		return fmt.Errorf("%s is empty", name)
	}
	seen[name] = n
	if err := k.set(s, value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// validate checks what one line alone cannot show.
func (s *Settings) validate() error {
	switch {
	case int(s.Node) > s.Layout.NMax:
		return fmt.Errorf("node %d has no slot: nmax is %d", s.Node, s.Layout.NMax)
	case len(s.Disks) == 0 || len(s.Disks) > MaxList:
		return fmt.Errorf("%d disks: want 1 to %d", len(s.Disks), MaxList)
	case len(s.Watchdogs) > MaxList:
		return fmt.Errorf("%d watchdogs: want at most %d", len(s.Watchdogs), MaxList)
	}
	for i, d := range s.Disks {
		for _, o := range s.Disks[:i] {
			if d.UUID == o.UUID || d.Path == o.Path {
				return fmt.Errorf("disk %s is listed twice", d.Path)
			}
		}
	}
	return nil
}

// Marshal writes the file that ParseSettings reads. It fails for settings that
// would not come back as they are.
func (s *Settings) Marshal() ([]byte, error) {
	var b strings.Builder
	b.WriteString("# What holdfast-guard reads at its start. Written by holdfast; changes are lost.\n")
	all := keys()
	for _, name := range order() {
		for _, v := range all[name].get(s) {
			fmt.Fprintf(&b, "%s = %s\n", name, v)
		}
	}
	back, err := ParseSettings("settings", []byte(b.String()))
	if err != nil {
		return nil, err
	}
	if fmt.Sprintf("%+v", *back) != fmt.Sprintf("%+v", *s) {
		return nil, errors.New("settings: a value holds a line break, blanks at its ends or an option's name")
	}
	return []byte(b.String()), nil
}

// order is the order of the keys in the file.
func order() []string {
	return []string{
		"node", "name", "cluster", "nmax", "sector", "epoch", "disk", "key", "watchdog", "accept_softdog", "mail_off",
		"run", "holder", "emulator", "pause_bound", "drain", "records",
	}
}

// keys is the whole vocabulary.
func keys() map[string]key {
	return map[string]key{
		"node": {
			set: func(s *Settings, v string) error {
				return number(v, 1, ident.MaxNodes, func(n int) { s.Node = ident.NodeID(n) })
			},
			get: func(s *Settings) []string { return one(strconv.Itoa(int(s.Node))) },
		},
		"name": text(func(s *Settings) *string { return &s.Name }, false),
		"cluster": {
			set: func(s *Settings, v string) (err error) { s.Cluster, err = ident.ParseUUID(v); return err },
			get: func(s *Settings) []string { return one(s.Cluster.String()) },
		},
		"nmax": {
			set: func(s *Settings, v string) error {
				return number(v, 1, ident.MaxNodes, func(n int) { s.Layout.NMax = n })
			},
			get: func(s *Settings) []string { return one(strconv.Itoa(s.Layout.NMax)) },
		},
		"sector": {set: setSector, get: func(s *Settings) []string { return one(strconv.Itoa(s.Layout.Sector)) }},
		"epoch": {optional: true, set: func(s *Settings, v string) error {
			return number(v, 0, 65535, func(n int) { s.Layout.Epoch = n })
		}, get: func(s *Settings) []string {
			if s.Layout.Epoch == 0 {
				return nil
			}
			return one(strconv.Itoa(s.Layout.Epoch))
		}},
		"disk":     {set: addDisk, get: disks, repeatable: true},
		"key":      text(func(s *Settings) *string { return &s.Key }, false),
		"watchdog": {set: addWatchdog, get: watchdogs, repeatable: true, optional: true},
		"accept_softdog": {set: setAccept, get: func(s *Settings) []string {
			return one(map[bool]string{false: "no", true: "yes"}[s.AcceptSoft])
		}},
		"mail_off": {set: setMailOff, optional: true, get: func(s *Settings) []string {
			if !s.PowerOff {
				return nil
			}
			return one("power-off")
		}},
		"run":         text(func(s *Settings) *string { return &s.Run }, false),
		"holder":      text(func(s *Settings) *string { return &s.Holder }, true),
		"emulator":    text(func(s *Settings) *string { return &s.Emulator }, true),
		"pause_bound": span(func(s *Settings) *time.Duration { return &s.PauseBound }),
		"drain":       span(func(s *Settings) *time.Duration { return &s.Drain }),
		"records":     text(func(s *Settings) *string { return &s.RecordsPath }, true),
	}
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func text(at func(*Settings) *string, optional bool) key {
	return key{
		set:      func(s *Settings, v string) error { *at(s) = v; return nil },
		get:      func(s *Settings) []string { return one(*at(s)) },
		optional: optional,
	}
}

func span(at func(*Settings) *time.Duration) key {
	return key{
		set: func(s *Settings, v string) error {
			d, err := time.ParseDuration(v)
			if err == nil && (d < 0 || d > time.Hour) {
				err = errors.New("want 0s to 1h")
			}
			*at(s) = d
			return err
		},
		get: func(s *Settings) []string { return one(at(s).String()) },
	}
}

func number(v string, low, high int, set func(int)) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return fmt.Errorf("%q: want a number from %d to %d", v, low, high)
	}
	set(n)
	return nil
}

func setSector(s *Settings, v string) error {
	if v != "512" && v != "4096" {
		return fmt.Errorf("%q: want 512 or 4096", v)
	}
	return number(v, 512, 4096, func(n int) { s.Layout.Sector = n })
}

func setMailOff(s *Settings, v string) error {
	if v != "stay" && v != "power-off" {
		return fmt.Errorf("%q is neither stay nor power-off", v)
	}
	s.PowerOff = v == "power-off"
	return nil
}

func setAccept(s *Settings, v string) error {
	if v != "yes" && v != "no" {
		return fmt.Errorf("%q: want yes or no", v)
	}
	s.AcceptSoft = v == "yes"
	return nil
}

// cutOption takes " name=value" off the end of a line.
func cutOption(v, name string) (rest, option string) {
	i := strings.LastIndex(v, " "+name+"=")
	if i < 0 {
		return v, ""
	}
	return strings.TrimSpace(v[:i]), strings.TrimSpace(v[i+len(name)+2:])
}

func addDisk(s *Settings, v string) error {
	v, set := cutOption(v, "set")
	path, uuid := cutOption(v, "uuid")
	d := DiskSetting{Path: path}
	switch set {
	case "", "both":
	case "old":
		d.Set = OldSet
	case "new":
		d.Set = NewSet
	default:
		return fmt.Errorf("set %q: want both, old or new", set)
	}
	var err error
	if d.UUID, err = ident.ParseUUID(uuid); err != nil {
		return fmt.Errorf("want PATH uuid=IDENTITY: %w", err)
	}
	s.Disks = append(s.Disks, d)
	return nil
}

func disks(s *Settings) []string {
	var out []string
	for _, d := range s.Disks {
		v := d.Path + " uuid=" + d.UUID.String()
		if d.Set != Both {
			v += " set=" + d.Set.String()
		}
		out = append(out, v)
	}
	return out
}

func addWatchdog(s *Settings, v string) error {
	v, before := cutOption(v, "pretimeout")
	device, timeout := cutOption(v, "timeout")
	d, err := time.ParseDuration(timeout)
	if err != nil || d <= 0 {
		return fmt.Errorf("timeout %q: want DEVICE timeout=5s", timeout)
	}
	w := WatchdogSetting{Device: device, Timeout: d}
	if before != "" {
		if w.Pretimeout, err = time.ParseDuration(before); err != nil || w.Pretimeout <= 0 || w.Pretimeout >= d {
			return fmt.Errorf("pretimeout %q: want DEVICE timeout=5s pretimeout=1s", before)
		}
	}
	s.Watchdogs = append(s.Watchdogs, w)
	return nil
}

func watchdogs(s *Settings) []string {
	var out []string
	for _, w := range s.Watchdogs {
		v := w.Device + " timeout=" + w.Timeout.String()
		if w.Pretimeout > 0 {
			v += " pretimeout=" + w.Pretimeout.String()
		}
		out = append(out, v)
	}
	return out
}
