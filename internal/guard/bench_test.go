package guard

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// BenchmarkBeatRound is what a bound guard does on one quorum disk once a
// period: seal and write the beat, read superblock and beat table back, look for
// kill records and mail.
func BenchmarkBeatRound(b *testing.B) {
	l := quorumdisk.Layout{SectorSize: quorumdisk.SmallSector, Nmax: 16}
	for _, where := range []string{"file", "loop"} {
		b.Run(where, func(b *testing.B) {
			path := storagetest.File(b, l.MinSize())
			if where == "loop" {
				path = storagetest.Loop(b, path, l.SectorSize)
			}
			formatDisk(b, path, l)
			r := newRig(b)
			r.deps.Codec = func() (*quorumdisk.Codec, error) { return quorumdisk.NewCodec(keys, clusterID, l) }
			r.deps.Disks = r.deps.Disks[:1]
			r.deps.Disks[0].Open = func(int) (storage.Disk, error) {
				return storage.Open(path, storage.Options{Sync: true, SectorSize: l.SectorSize})
			}
			r.start().claim()
			w := r.g.workers[0]
			must(b, w.turn(true))
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				must(b, w.turn(true))
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
			must(b, w.disk.Close())
		})
	}
}

// cpu is the processor time of this process so far, user and system.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBeatRequests counts what a bound guard asks of one quorum disk in one
// beat period: a whole cycle, and one that only reads.
func BenchmarkBeatRequests(b *testing.B) {
	r := newRig(b).start().claim()
	w := r.g.workers[0]
	must(b, w.turn(true))
	requests, bytes := 0, 0
	r.disks[0].SetBefore(func(q storagetest.Request) { requests, bytes = requests+1, bytes+q.Len })
	for b.Loop() {
		must(b, w.turn(true))
		must(b, w.turn(false))
	}
	b.ReportMetric(float64(requests)/float64(b.N), "requests/period")
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/period")
}
