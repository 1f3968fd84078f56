package volume_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// realDisk formats a file with direct I/O, or a loop device on one, and opens it as
// the daemon does.
func realDisk(b *testing.B, where string, sector, nmax, index int) *volume.Volume {
	b.Helper()
	l := q.Layout{SectorSize: sector, Nmax: nmax}
	path := storagetest.File(b, l.MinSize())
	if where == "loop" {
		path = storagetest.Loop(b, path, sector)
	}
	d, err := storage.Open(path, storage.Options{Sync: true, SectorSize: sector})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	o := options()
	o.Nmax, o.SBD, o.Disk, o.Timeout = nmax, nil, uuid(byte(0xd0+index)), time.Minute
	if _, err := volume.Create(d, o); err != nil {
		b.Fatal(err)
	}
	v, err := volume.Open(d, testKeys(), volume.Expect{}, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// answer is the completion of an operation of the register.
type answer struct {
	op  register.Op[[]byte]
	all []register.Header
	err error
}

// serve carries out a disk's operations, as its task in the daemon does.
func serve(v *volume.Volume, ops <-chan register.Op[[]byte], done chan<- answer) {
	for op := range ops {
		a := answer{op: op}
		switch op.Kind {
		case register.Write:
			_, a.err = v.WriteBlock(op.Header, op.Value, time.Minute)
		case register.ReadHeaders:
			var h volume.Headers
			h, a.err = v.ReadHeaders(time.Minute)
			a.all = h.Valid
		}
		done <- a
	}
}

// BenchmarkRound is a commit by the stable leader on real disks: body, header,
// headers and superblock of every disk, all disks at once, a majority awaited.
func BenchmarkRound(b *testing.B) {
	body, err := statecodec.Encode(&cluster.State{Ver: 1, Cluster: uuid(0xc0), Config: make([]byte, 4096)})
	if err != nil {
		b.Fatal(err)
	}
	for _, where := range []string{"file", "loop"} {
		for _, disks := range []int{1, 3} {
			b.Run(fmt.Sprintf("%s/disks=%d", where, disks), func(b *testing.B) {
				m := register.New[[]byte](register.Config{Self: 1, Life: 1, Disks: disks})
				done := make(chan answer, disks)
				var tasks []chan register.Op[[]byte]
				for i := range disks {
					v := realDisk(b, where, q.SmallSector, q.DefaultNodes, i)
					tasks = append(tasks, make(chan register.Op[[]byte], 1))
					go serve(v, tasks[i], done)
				}
				r := &round{m: m, tasks: tasks, done: done, body: body}
				r.until(b, register.Recovered)
				r.commit(b)
				b.ResetTimer()
				for b.Loop() {
					r.commit(b)
				}
				b.StopTimer()
				r.end()
			})
		}
	}
}

// round drives a machine by the clock.
type round struct {
	m     *register.Machine[[]byte]
	tasks []chan register.Op[[]byte]
	done  chan answer
	body  []byte
	fly   int
	begun time.Time
}

func (r *round) now() ident.Instant {
	if r.begun.IsZero() {
		r.begun = time.Now()
	}
	return ident.Instant(time.Since(r.begun)) + 1
}

func (r *round) commit(b *testing.B) {
	r.m.Propose(r.now(), func([]byte, uint64) ([]byte, bool) { return r.body, true })
	r.until(b, register.Committed)
}

// until works until the machine says so.
func (r *round) until(b *testing.B, kind register.OutcomeKind) {
	b.Helper()
	for {
		r.m.Tick(r.now())
		ops, outs := r.m.Take()
		for _, op := range ops {
			r.tasks[op.Disk] <- op
			r.fly++
		}
		for _, o := range outs {
			if o.Kind == kind {
				return
			}
		}
		a := <-r.done
		r.fly--
		if a.err != nil {
			b.Fatal(a.err)
		}
		switch a.op.Kind {
		case register.Write:
			r.m.Wrote(r.now(), a.op.Disk, a.op.Seq, true)
		case register.ReadHeaders:
			r.m.Headers(r.now(), a.op.Disk, a.op.Seq, a.all, true)
		}
	}
}

// end waits for the disks that the majority did not.
func (r *round) end() {
	for ; r.fly > 0; r.fly-- {
		<-r.done
	}
	for _, t := range r.tasks {
		close(t)
	}
}

// BenchmarkTable is one look at all beats: one read, every seal checked.
func BenchmarkTable(b *testing.B) {
	for _, sector := range []int{q.SmallSector, q.LargeSector} {
		for _, nodes := range []int{2, 16, 64} {
			b.Run(fmt.Sprintf("sector=%d/nodes=%d", sector, nodes), func(b *testing.B) {
				v := realDisk(b, "file", sector, nodes, 0)
				beat := make([]byte, sector)
				for n := 1; n <= nodes; n++ {
					h := q.BeatHeader{Node: ident.NodeID(n), State: cluster.GuardBound, Inc: ident.Incarnation{N: 1}, Seq: 1}
					if err := v.Codec().SealBeat(beat, &h, nil); err != nil {
						b.Fatal(err)
					}
					if err := v.WriteBeat(ident.NodeID(n), beat, time.Minute); err != nil {
						b.Fatal(err)
					}
				}
				table := make([]byte, v.Layout().TableSize())
				b.SetBytes(int64(len(table)))
				b.ReportAllocs()
				for b.Loop() {
					if err := v.ReadTable(table, time.Minute); err != nil {
						b.Fatal(err)
					}
					for _, s := range v.Codec().OpenTable(table) {
						if s.Beat == nil {
							b.Fatalf("a beat is missing: %+v", s)
						}
					}
				}
			})
		}
	}
}
