package screen

import (
	"fmt"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// drills is the latest of each kind, where any was ever run; those that are overdue
// stand among what is to be done.
func (p *page) drills() {
	d := p.s.Drills
	if d == nil || len(d.Last) == 0 {
		return
	}
	var ran, never []string
	for _, kind := range api.DrillKinds() {
		r := d.Latest(kind)
		switch {
		case r == nil:
			never = append(never, kind)
		case r.OK:
			ran = append(ran, fmt.Sprintf("%s %s ago", kind, Seconds(max(0, p.s.Time.Sub(r.Time)))))
		default:
			ran = append(ran, fmt.Sprintf("%s %s %s ago", kind, in(heed, "FAILED"), Seconds(max(0, p.s.Time.Sub(r.Time)))))
		}
	}
	text := strings.Join(ran, ", ")
	if len(never) > 0 {
		text += "; never: " + strings.Join(never, ", ")
	}
	p.line(2, "drilled: %s", text)
}
