package histories

import (
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// spoiler is what goes wrong with the requests of one block's write.
type spoiler struct {
	kind storagetest.Kind
	of   int // of 100 failing writes of a header
}

// spoilers are the ends of a write that its writer is not told the truth about.
// About half of them have taken effect.
func spoilers() []spoiler {
	return []spoiler{
		{storagetest.Fail, 34},
		{storagetest.Torn, 12},
		{storagetest.FailLate, 14},
		{storagetest.Hang, 10},
		{storagetest.FailAfter, 15},
		{storagetest.HangAfter, 15},
	}
}

// header and body narrow a fault to one of the two requests of a block's write.
func (p *disk) header(f storagetest.Fault) storagetest.Fault {
	f.Off, f.Len = quorumdisk.HeadersOffset, int64(p.layout.HeadersSize())
	return f
}

func (p *disk) body(f storagetest.Fault) storagetest.Fault {
	f.Off, f.Len = quorumdisk.BodiesOffset, int64(p.layout.Nmax*quorumdisk.Ring*quorumdisk.BodySize)
	return f
}

// spoilWrite lets the write of a block go wrong, or not.
func (p *disk) spoilWrite(w *world, h *storagetest.Handle, block register.Header) {
	switch {
	case w.calm:
	case p.lies != Honest && w.rng.IntN(4) == 0:
		p.lie(w, h, block)
	case w.rng.IntN(100) < w.Writes:
		p.failWrite(w, h, block)
	case w.rng.IntN(100) < w.Ghosts:
		h.Inject(storagetest.Fault{Kind: storagetest.Ghost})
	}
}

func (p *disk) failWrite(w *world, h *storagetest.Handle, block register.Header) {
	r := w.rng.IntN(100)
	var f storagetest.Fault
	for _, s := range spoilers() {
		f.Kind = s.kind
		if r -= s.of; r < 0 {
			break
		}
	}
	if block.Ver != 0 && w.rng.IntN(6) == 0 {
		if f.Kind == storagetest.Torn {
			f.Bytes = 1 + w.rng.IntN(100)
		}
		h.Inject(p.body(f))
		return
	}
	if f.Kind == storagetest.Torn {
		if p.shows(block) { // written again: a tear would take back what others may have seen
			f.Kind = storagetest.Fail
		}
		f.Bytes = 28 + w.rng.IntN(110)
	}
	h.Inject(p.header(f))
}

// lie lets the disk acknowledge what it does not do.
func (p *disk) lie(w *world, h *storagetest.Handle, block register.Header) {
	narrow := p.header
	if block.Ver != 0 && w.Config.Disks == 3 && (w.rng.IntN(4) == 0 || w.Broken == AnyBody) {
		narrow = p.body
	}
	switch p.lies {
	case Loses:
		h.Inject(narrow(storagetest.Fault{Kind: storagetest.Lost}))
	case Delays:
		h.Inject(narrow(storagetest.Fault{Kind: storagetest.Late}))
	case Tears:
		if !p.shows(block) {
			h.Inject(narrow(storagetest.Fault{Kind: storagetest.Torn, Silent: true, Bytes: 1 + w.rng.IntN(140)}))
		}
	case Misplaces:
		shift := p.layout.ProbeOffset(1) - p.layout.HeaderOffset(block.Node, uint8(block.Gen%quorumdisk.Ring))
		h.Inject(p.header(storagetest.Fault{Kind: storagetest.Misdirected, Op: storagetest.Writes, Shift: shift}))
	}
}

// spoilRead lets a read go wrong, or not.
func (p *disk) spoilRead(w *world, h *storagetest.Handle) {
	switch {
	case w.calm:
	case p.lies == Misplaces && w.rng.IntN(4) == 0:
		h.Inject(storagetest.Fault{Kind: storagetest.Misdirected, Op: storagetest.Reads, Shift: int64(p.layout.SectorSize)})
	case w.rng.IntN(100) < w.Reads:
		kind := storagetest.Fail
		if w.rng.IntN(3) == 0 {
			kind = storagetest.Hang
		}
		h.Inject(storagetest.Fault{Kind: kind, Op: storagetest.Reads})
	}
}
