// Package members says what the configuration may contain of each kind of
// resource, and how long its operations usually take.
//
// A kind's specification is what its agent reads as JSON, key by key; a test
// holds the two against each other. Some kinds have a short form, one text that
// stands for their most important key:
//
//	lvm: vg_orders        means        lvm: {group: vg_orders}
package members

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config/form"
)

// Kind is a kind of resource as the configuration knows it.
type Kind struct {
	Name    string
	Storage bool       // may start on a reservation proof, before its node is proven dead
	Shape   form.Shape // of its specification
	Short   string     // the key that a text in place of the object stands for; empty: there is no short form
	With    bool       // parameters may stand beside it, under with
	Reloads bool       // it may be able to take over new settings while it runs
	Usual   Limits
	// Check says what one key alone cannot tell; may be nil.
	Check func(r *form.Reader, v *form.Value, where string)
}

// Limits are how long operations may take, and how often a check is made, unless
// the configuration says otherwise. Zero leaves it to whoever carries them out.
type Limits struct {
	Start, Stop, Check, Every time.Duration
}

// usualWithin is how long a guest may take to be handed over, as its agent has it.
const usualWithin = 2 * time.Minute

// All returns the kinds of this version, in the order in which they are listed
// for people.
func All() []Kind {
	return []Kind{
		{Name: "exec", Reloads: true, Shape: execShape(), Check: checkExec},
		{Name: "filesystem", Reloads: true, Storage: true, Shape: filesystemShape(), Check: checkFilesystem},
		{Name: "ip", Reloads: true, Shape: ipShape(), Check: checkIP},
		{Name: "ocf", Reloads: true, Shape: ocfShape(), Short: "agent", With: true},
		{Name: "systemd", Shape: systemdShape(), Short: "unit", Usual: Limits{Start: 100 * time.Second, Stop: 100 * time.Second, Check: 60 * time.Second}},
		{Name: "container", Reloads: true, Shape: containerShape(), Usual: Limits{Start: 120 * time.Second, Stop: 90 * time.Second, Check: 30 * time.Second}},
		{Name: "vm", Reloads: true, Shape: vmShape(), Usual: Limits{Start: 120 * time.Second, Stop: 120 * time.Second, Check: 30 * time.Second}},
		{Name: "export", Shape: exportShape(), Usual: Limits{Start: 40 * time.Second, Stop: 120 * time.Second, Check: 20 * time.Second}},
		{Name: "lvm", Shape: lvmShape(), Storage: true, Short: "group", Usual: Limits{Start: 90 * time.Second, Stop: 90 * time.Second, Check: 60 * time.Second}},
		{Name: "iscsi", Shape: iscsiShape(), Storage: true, Check: checkISCSI, Usual: Limits{Start: 60 * time.Second, Stop: 60 * time.Second, Check: 20 * time.Second}},
		{Name: "multipath", Reloads: true, Storage: true, Shape: multipathShape(), Short: "map", Usual: Limits{Start: 30 * time.Second, Stop: 20 * time.Second, Check: 20 * time.Second}},
	}
}

// UsualStop is how long a stop may take: what is handed over as it runs has the time for
// that, too.
func (k Kind) UsualStop(v *form.Value) time.Duration {
	m := v.Get("migrate")
	if m == nil {
		return k.Usual.Stop
	}
	return k.Usual.Stop + cmp.Or(m.Dur("within"), usualWithin)
}

// Find returns the kind of that name.
func Find(name string) (Kind, bool) {
	for _, k := range All() {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// Names lists the kinds for a sentence: "exec, filesystem and ip".
func Names() string {
	var names []string
	for _, k := range All() {
		names = append(names, k.Name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// Spec is a member's specification as its agent reads it: canonical JSON, keys
// sorted, durations as they were written. with are the parameters beside it; nil
// if there are none.
func (k Kind) Spec(v, with *form.Value) []byte {
	m, ok := v.Plain().(map[string]any)
	if !ok {
		m = map[string]any{k.Short: v.Text}
	}
	delete(m, "guard") // for the cluster, not for the agent
	if with != nil {
		m["with"] = with.Plain()
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic("members: a value of texts, numbers and lists does not encode: " + err.Error())
	}
	return b
}

// short makes a shape that is the object, or a text that stands for one key of it.
func short(text, object form.Shape) form.Shape {
	text.Or = &object
	return text
}
