package guard

import (
	"testing"

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
			for b.Loop() {
				must(b, w.turn(true))
			}
			must(b, w.disk.Close())
		})
	}
}
