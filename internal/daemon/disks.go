package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/daemon/keyring"
	"github.com/holdfast-ha/holdfast/internal/daemon/queue"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// leastPatience is the shortest wait for one request to a disk; the wait itself
// is half of the lease, so that a slow register never looks like a dead one.
const leastPatience = time.Second

// disk is the daemon's own way to one quorum disk: a handle and a codec of its
// own, and one task, so that there is one request in flight and a disk that hangs
// delays nobody else. The guard's beats go another way.
type disk struct {
	index  int
	open   func(sector int) (storage.Disk, error) // 0: the device's own sector size
	keys   func() quorumdisk.Keys                 // those that are valid now
	want   volume.Expect
	shared *diskShared
	jobs   *queue.Queue[diskJob]
	log    zerolog.Logger
	land   keyring.Landing // what may land there yet

	// Of the task alone:
	handle storage.Disk
	volume *volume.Volume
	sector int             // to open with; 0 until the disk proves to have another
	said   string          // the last problem that was logged
	by     quorumdisk.Keys // what the volume seals and opens with
}

// diskShared is what the tasks of all disks have in common.
type diskShared struct {
	events   chan<- cluster.Event
	patience atomic.Int64 // ns
	bodies   statecodec.Cache
	problem  atomic.Pointer[string] // why the newest configuration cannot be read
	alarm    func(what string)      // says something loudly
	alarmed  atomic.Pointer[string] // what was said last
	layout   atomic.Pointer[quorumdisk.Layout]
	cut      atomic.Pointer[time.Time] // until when a drill has every request fail; nil: none
}

// errCut stands for what a lost path would say.
var errCut = errors.New("a drill keeps this node from its quorum disks for a while (holdfast drill cut-disk)")

// diskJob is one piece of work. It gets the disk, or the reason why there is
// none, and returns what went wrong.
type diskJob func(v *volume.Volume, patience time.Duration, err error) error

// run is the task of the disk.
func (d *disk) run(ctx context.Context) error {
	for {
		job, ok := d.jobs.Take(ctx)
		if !ok {
			d.close()
			return nil
		}
		patience := max(leastPatience, time.Duration(d.shared.patience.Load()))
		err := d.ready(patience)
		d.judge(job(d.volume, patience, err))
	}
}

// ready opens the disk if it is not open.
func (d *disk) ready(patience time.Duration) error {
	if until := d.shared.cut.Load(); until != nil && time.Now().Before(*until) {
		return errCut
	}
	keys := d.keys()
	if d.volume != nil && d.by == keys {
		return nil
	}
	if d.volume != nil {
		d.by = keys
		return d.volume.Rekey(keys)
	}
	if d.handle == nil {
		h, err := d.open(d.sector)
		if err != nil {
			return err
		}
		d.handle = h
	}
	v, err := volume.Open(d.handle, keys, d.want, patience)
	if errors.Is(err, quorumdisk.ErrSectorSize) {
		d.sector = quorumdisk.SmallSector // laid out by a host that saw no larger blocks
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.handle.Info().Path, err)
	}
	for _, n := range v.Notes() {
		d.log.Warn().Msg(n)
	}
	d.volume, d.by = v, keys
	l := v.Layout()
	d.shared.layout.Store(&l)
	return nil
}

// judge logs what changed, and gives up a handle that does not work. One that
// merely did not answer in time is kept: a request of it is still in flight.
func (d *disk) judge(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != d.said {
		if d.said = text; err != nil {
			d.log.Warn().Err(err).Msg("the register on this disk")
		} else {
			d.log.Info().Msg("the register on this disk works")
		}
	}
	var op *storage.OpError
	if errors.As(err, &op) {
		d.land.Failed(time.Now())
	}
	if err == nil || errors.Is(err, storage.ErrTimeout) || errors.Is(err, storage.ErrBusy) || d.volume != nil && !errors.As(err, &op) {
		return
	}
	d.close()
}

// close gives the handle back; one with a request in flight stays with the
// process.
func (d *disk) close() {
	if d.handle != nil && d.handle.Close() == nil || d.handle == nil {
		d.handle, d.volume = nil, nil
	}
}

// register puts work of the register into the queue. Its result is an event.
func (d *disk) register(ctx context.Context, op register.Op[*cluster.State]) {
	d.jobs.Put(func(v *volume.Volume, patience time.Duration, err error) error {
		var ev cluster.Event
		switch op.Kind {
		case register.Write:
			err = d.write(v, op, patience, err)
			ev = cluster.RegisterWrote{Disk: d.index, Seq: op.Seq, OK: err == nil}
		case register.ReadHeaders:
			var all volume.Headers
			if err == nil {
				all, err = v.ReadHeaders(patience)
			}
			ev = cluster.RegisterHeaders{Disk: d.index, Seq: op.Seq, All: all.Valid, OK: err == nil}
			if err == nil && len(all.Bad) > 0 {
				err = fmt.Errorf("%d register headers do not check: %w", len(all.Bad), all.Bad[0])
			}
		case register.ReadBody:
			var s *cluster.State
			if err == nil {
				s, err = d.readState(v, op.Header, patience)
			}
			ev = cluster.RegisterBody{Disk: d.index, Seq: op.Seq, Value: s, OK: err == nil}
		default:
			return fmt.Errorf("register work of kind %d", op.Kind)
		}
		post(ctx, d.shared.events, ev)
		return err
	})
}

func (d *disk) write(v *volume.Volume, op register.Op[*cluster.State], patience time.Duration, err error) error {
	if err != nil {
		return err
	}
	if err := d.land.MayWrite(op.Header.Slot, time.Now()); err != nil {
		return err
	}
	var body []byte
	if op.Header.Ver != 0 {
		if body, err = d.shared.bodies.Encode(op.Value); err != nil {
			d.shared.loud("the state cannot be written: " + err.Error())
			return err
		}
	}
	_, err = v.WriteBlock(op.Header, body, patience)
	return err
}

func (d *disk) readState(v *volume.Volume, h register.Header, patience time.Duration) (*cluster.State, error) {
	body, err := v.ReadBody(h, patience)
	if err != nil {
		return nil, err
	}
	s, err := statecodec.Decode(body)
	if err != nil {
		d.shared.loud("a state on the quorum disk cannot be read: " + err.Error())
		return nil, err
	}
	d.shared.parse(s)
	return s, nil
}

// loud says something once, until it is something else.
func (s *diskShared) loud(what string) {
	if before := s.alarmed.Swap(&what); before == nil || *before != what {
		s.alarm(what)
	}
}

// parse fills in Conf. A configuration that does not parse, as of a newer
// version, leaves it nil: the core then starts nothing that it does not know.
func (s *diskShared) parse(st *cluster.State) {
	conf, err := config.ParseCluster(fmt.Sprintf("configuration %d", st.ConfigRev), st.Config)
	text := ""
	if err != nil {
		text = err.Error()
		s.loud("the committed configuration cannot be read by this version of holdfastd: " + text)
	}
	st.Conf = conf
	s.problem.Store(&text)
}

// writeBlob and readBlob queue work on status blobs.
func (d *disk) writeBlob(ctx context.Context, a cluster.WriteBlob) {
	d.jobs.Put(func(v *volume.Volume, patience time.Duration, err error) error {
		if err == nil {
			err = v.WriteBlob(&a.Blob, patience)
		}
		post[cluster.Event](ctx, d.shared.events, cluster.BlobWrote{Disk: a.Disk, Gen: a.Blob.Gen, OK: err == nil})
		return err
	})
}

func (d *disk) readBlob(ctx context.Context, a cluster.ReadBlob) {
	d.jobs.Put(func(v *volume.Volume, patience time.Duration, err error) error {
		ev := cluster.BlobRead{Disk: a.Disk, Node: a.Node}
		if err == nil {
			ev.Blob, err = v.ReadBlob(a.Node, a.Gen, patience)
		}
		post[cluster.Event](ctx, d.shared.events, ev)
		if errors.Is(err, volume.ErrStale) {
			return nil // its owner is faster than we are
		}
		return err
	})
}

// do runs a job on the disk and waits for it, for those outside the loop.
func (d *disk) do(ctx context.Context, job func(v *volume.Volume, patience time.Duration) error) error {
	done := make(chan error, 1)
	d.jobs.Put(func(v *volume.Volume, patience time.Duration, err error) error {
		if err == nil {
			err = job(v, patience)
		}
		done <- err
		return err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("quorum disk %d: %w", d.index+1, ctx.Err())
	}
}

// probe leaves a nonce in a node's probe sector, and probed reads one.
func (d *disk) probe(ctx context.Context, node ident.NodeID, nonce [32]byte) error {
	return d.do(ctx, func(v *volume.Volume, patience time.Duration) error { return v.WriteProbe(node, nonce, patience) })
}

func (d *disk) probed(ctx context.Context, node ident.NodeID) (nonce [32]byte, ok bool, err error) {
	err = d.do(ctx, func(v *volume.Volume, patience time.Duration) error {
		var e error
		nonce, ok, e = v.ReadProbe(node, patience)
		return e
	})
	return nonce, ok, err
}
