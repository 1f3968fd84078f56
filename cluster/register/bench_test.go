package register_test

import (
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/register"
)

// BenchmarkCommit measures a commit of the stable leader through the machine,
// over rings in memory.
func BenchmarkCommit(b *testing.B) {
	for _, disks := range []int{1, 3} {
		b.Run(map[int]string{1: "disks=1", 3: "disks=3"}[disks], func(b *testing.B) {
			w := newWorld(b, 1, 1, disks)
			n := w.nodes[0]
			w.all(n)
			b.ReportAllocs()
			for b.Loop() {
				w.begin(n)
				for n.got(register.Committed) == nil {
					w.finish(n, 0)
				}
				w.all(n)
			}
		})
	}
}
