package metrics

import (
	"slices"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// drills are what is known of drills. A kind that nobody has run yet has no time and no
// verdict; it may be overdue.
func drills() []metric {
	return []metric{
		{"holdfast_drill_last_time_seconds", "When the latest drill of its kind began that this node knows of, in seconds since 1970: its age is time() less that.", []string{"kind"}, func(s *api.Status, add adder) {
			rehearsed(s, func(r *api.DrillRecord) { add(float64(r.Time.UnixNano())/1e9, r.Kind) })
		}},
		{"holdfast_drill_ok", "1 if the latest drill of its kind went well: what was foretold came true within its bound, and everything was restored.", []string{"kind"}, func(s *api.Status, add adder) {
			rehearsed(s, func(r *api.DrillRecord) { add(yes(r.OK), r.Kind) })
		}},
		{"holdfast_drill_overdue", "1 if the configuration (drills: every 90d) wants a drill of this kind by now, and none has gone well.", []string{"kind"}, func(s *api.Status, add adder) {
			for _, kind := range api.DrillKinds() {
				if s.Drills != nil {
					add(yes(slices.Contains(s.Drills.Overdue, kind)), kind)
				}
			}
		}},
		{"holdfast_drill_running", "1 while a drill is under way on this node: what is seen then was done on purpose.", nil, func(s *api.Status, add adder) {
			if s.Drills != nil {
				add(yes(s.Drills.Running != nil))
			}
		}},
		{"holdfast_drill_seconds", "Of the latest drill of its kind: from the fault to the permission to start elsewhere, as foretold and as measured, and by how much the two may differ.", []string{"kind", "what"}, func(s *api.Status, add adder) {
			rehearsed(s, func(r *api.DrillRecord) {
				seconds(r.Predicted, add, r.Kind, "foretold")
				seconds(r.Measured, add, r.Kind, "measured")
				seconds(r.Bound, add, r.Kind, "bound")
			})
		}},
	}
}

// rehearsed calls each with the latest drill of every kind.
func rehearsed(s *api.Status, each func(*api.DrillRecord)) {
	if s.Drills == nil {
		return
	}
	for _, kind := range api.DrillKinds() {
		if r := s.Drills.Latest(kind); r != nil {
			each(r)
		}
	}
}
