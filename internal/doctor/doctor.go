// Package doctor judges whether a machine can carry its part of a cluster: what is
// wrong, what could be better, and which command helps.
//
// It is pure. Facts are gathered elsewhere (package gather), each check is a
// function from them to findings, and what a finding would have changed is a
// Change, carried out and taken back by package mend. So every check can be tested
// with a machine that is only a value.
package doctor

import (
	"fmt"
	"strings"
	"time"
)

// Level is how bad a finding is.
type Level string

// The levels. What is not known is none of the others: somebody should look.
const (
	OK      Level = "ok"
	Unknown Level = "unknown"
	Warning Level = "warning"
	Failure Level = "failure"
)

// rank orders the levels.
func (l Level) rank() int {
	switch l {
	case Failure:
		return 3
	case Warning:
		return 2
	case Unknown:
		return 1
	}
	return 0
}

// Finding is what one check says of one thing.
type Finding struct {
	Check  string  `json:"check"`        // its name, which does not change
	On     string  `json:"on,omitempty"` // device, link, unit, node
	Level  Level   `json:"level"`
	Text   string  `json:"text"`
	Remedy string  `json:"remedy,omitempty"` // a command, or what to write where
	Fix    *Change `json:"fix,omitempty"`    // what --fix does about it
}

// Change is what a fix does, whole: nothing else is touched.
type Change struct {
	Text  string     `json:"text"` // what it is, in words
	Files []Edit     `json:"files,omitempty"`
	Run   [][]string `json:"run,omitempty"`  // commands, after the files were written
	Back  [][]string `json:"back,omitempty"` // commands that undo those, after the files were put back
}

// Edit is one file as it shall be.
type Edit struct {
	Path string `json:"path"`
	Text string `json:"text,omitempty"`
	Link string `json:"link,omitempty"` // a symbolic link to this, instead of a file
	// Value says that it is a setting of the kernel, which is written in place and
	// never removed.
	Value bool `json:"value,omitempty"`
}

// Section is the findings about one part of the machine.
type Section struct {
	Name     string    `json:"name"`
	Findings []Finding `json:"findings"`
}

// Report is what the doctor says.
type Report struct {
	Version  int       `json:"version"`
	Node     string    `json:"node"`
	Level    Level     `json:"level"`   // the worst of all findings
	Machine  Machine   `json:"machine"` // what other nodes compare with theirs
	Sections []Section `json:"sections"`
}

// Machine is what is compared between the nodes.
type Machine struct {
	Kernel string            `json:"kernel,omitempty"`
	Agents map[string]string `json:"agents,omitempty"` // SHA-256 of the OCF agents of the services, and of the agents of fencing
	MTU    []int             `json:"mtu,omitempty"`    // of the links, in order; 0: not known
	// Multipath is what multipathd and the kernel have set for the quorum disks, by the
	// setting and the WWID.
	Multipath map[string]string `json:"multipath,omitempty"`
}

// version of the Report's fields.
const version = 1

// check is one check: findings from facts.
type check struct {
	section string
	name    string
	of      func(*Facts) []Finding
}

// Examine runs the checks of the named sections, all if none is named, and gives
// those that had something to say.
func Examine(f *Facts, sections ...string) Report {
	r := Report{Version: version, Node: f.Node.Name, Level: OK, Sections: []Section{}, Machine: Machine{Kernel: f.Cluster.Kernel, Agents: f.Cluster.Agents, Multipath: f.multipathSettings()}}
	for _, l := range f.Links {
		r.Machine.MTU = append(r.Machine.MTU, l.MTU)
	}
	for _, c := range checks() {
		if len(sections) > 0 && !contains(sections, c.section) {
			continue
		}
		found := c.of(f)
		if len(found) == 0 {
			continue
		}
		if n := len(r.Sections); n == 0 || r.Sections[n-1].Name != c.section {
			r.Sections = append(r.Sections, Section{Name: c.section})
		}
		s := &r.Sections[len(r.Sections)-1]
		for _, x := range found {
			x.Check = c.name
			s.Findings = append(s.Findings, x)
			if x.Level.rank() > r.Level.rank() {
				r.Level = x.Level
			}
		}
	}
	return r
}

// Sections names all sections, in the order in which they are shown.
func Sections() []string {
	var names []string
	for _, c := range checks() {
		if len(names) == 0 || names[len(names)-1] != c.section {
			names = append(names, c.section)
		}
	}
	return names
}

// Fixes are the findings that have a fix, each change once.
func (r *Report) Fixes() []Finding {
	var list []Finding
	seen := map[string]bool{}
	for _, s := range r.Sections {
		for _, x := range s.Findings {
			if x.Fix == nil || x.Level == OK {
				continue
			}
			if key := fmt.Sprint(*x.Fix); !seen[key] {
				seen[key] = true
				list = append(list, x)
			}
		}
	}
	return list
}

// Count counts the findings of a level.
func (r *Report) Count(l Level) int {
	n := 0
	for _, s := range r.Sections {
		for _, x := range s.Findings {
			if x.Level == l {
				n++
			}
		}
	}
	return n
}

func checks() []check {
	var all []check
	for _, part := range [][]check{kernelChecks(), watchdogChecks(), diskChecks(), powerChecks(), clockChecks(), linkChecks(), bootChecks(), clusterChecks()} {
		all = append(all, part...)
	}
	return all
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// real wraps a check of this machine's own devices: an emulated node rests on
// none of them.
func real(of func(*Facts) []Finding) func(*Facts) []Finding {
	return func(f *Facts) []Finding {
		if f.Node.Emulated {
			return nil
		}
		return of(f)
	}
}

// Constructors of findings; fields that they do not set are set by the checks.

func ok(on, format string, args ...any) Finding {
	return Finding{On: on, Level: OK, Text: fmt.Sprintf(format, args...)}
}

func unknown(on, remedy, format string, args ...any) Finding {
	return Finding{On: on, Level: Unknown, Remedy: remedy, Text: fmt.Sprintf(format, args...)}
}

func warn(on, remedy, format string, args ...any) Finding {
	return Finding{On: on, Level: Warning, Remedy: remedy, Text: fmt.Sprintf(format, args...)}
}

func fail(on, remedy, format string, args ...any) Finding {
	return Finding{On: on, Level: Failure, Remedy: remedy, Text: fmt.Sprintf(format, args...)}
}

// with adds a fix.
func (x Finding) with(c *Change) Finding {
	x.Fix = c
	return x
}

func list(f ...Finding) []Finding { return f }

// seconds is a duration in words.
func seconds(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", d.Seconds()), "0"), ".") + " s"
}

// made heads every file that a fix writes, so that its reader knows whose it is.
const made = "# Written by holdfast doctor --fix; holdfast doctor --undo takes it back.\n"
