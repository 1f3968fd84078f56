package account

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Run of the disk's writer, as the judge saw it.
type RunSeen struct {
	Owner          uint32
	Run            uint64
	First, Last    time.Time // when its first and its latest block landed
	Lowest, Newest uint64    // numbers
	confirmed      uint64    // the highest number that it was told is written
}

// Judge sees every write land and hears of every confirmation. Its methods may be called by several goroutines.
type Judge struct {
	mu        sync.Mutex
	runs      []*RunSeen
	known     map[uint64]*RunSeen
	records   map[uint64]Block // confirmed records of the file, by number
	confirmed uint64           // confirmations heard of
	files     uint64           // writes to the file system's disk
	early     *early           // a write to the file system's disk by another machine than the latest run's
	crimes    []string
	counts    map[string]int // crimes by kind: each is told once or twice, not a thousand times
}

// early is a write of a machine whose run has not begun yet, or that of an owner who is none any more: what comes next tells.
type early struct {
	owner  int
	at     time.Time
	offset int64
}

// resolve accuses who wrote early, unless its run begins now. The judge is locked.
func (j *Judge) resolve(owner uint32, begins bool) {
	e := j.early
	if e == nil || begins && uint32(e.owner) == owner {
		j.early = nil
		return
	}
	j.early = nil
	if len(j.runs) == 0 {
		j.accuse(TwoOwners, "n%d wrote to the file system before any owner was there", e.owner)
		return
	}
	now := j.runs[len(j.runs)-1]
	j.accuse(TwoOwners, "n%d wrote to the file system (at %d) %v after the first block of n%d, which was %s", e.owner, e.offset,
		e.at.Sub(now.First).Round(time.Millisecond), now.Owner, now.First.Format("15:04:05.000"))
}

// NewJudge gives a judge who has seen nothing.
func NewJudge() *Judge {
	return &Judge{known: map[uint64]*RunSeen{}, records: map[uint64]Block{}, counts: map[string]int{}}
}

// accuse notes a crime. The judge is locked.
func (j *Judge) accuse(kind, format string, args ...any) {
	j.counts[kind]++
	if j.counts[kind] <= 3 {
		j.crimes = append(j.crimes, kind+": "+fmt.Sprintf(format, args...))
	}
}

// The kinds of crime.
const (
	TwoOwners = "two owners"
	Lost      = "a confirmed write is lost"
	Torn      = "a write of nobody"
)

// Disk takes a write to the writer's disk by machine number owner.
func (j *Judge) Disk(owner int, at time.Time, offset int64, data []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(data) != Size || offset%Size != 0 {
		j.accuse(Torn, "n%d wrote %d bytes at %d", owner, len(data), offset)
		return
	}
	k, err := Decode(data)
	if err != nil || k.Owner != uint32(owner) || k.Number%Slots != uint64(offset/Size)%Slots {
		j.accuse(Torn, "n%d wrote %+v to slot %d: %v", owner, k, offset/Size, err)
		return
	}
	r := j.known[k.Run]
	j.resolve(k.Owner, r == nil)
	if r == nil {
		r = &RunSeen{Owner: k.Owner, Run: k.Run, First: at, Lowest: k.Number}
		j.known[k.Run] = r
		j.runs = append(j.runs, r)
	}
	if now := j.runs[len(j.runs)-1]; now != r {
		j.accuse(TwoOwners, "block %d of n%d landed %v after the first block of n%d, which was %s", k.Number, owner,
			at.Sub(now.First).Round(time.Millisecond), now.Owner, now.First.Format("15:04:05.000"))
	}
	r.Last, r.Newest = at, max(r.Newest, k.Number)
}

// FileSystem takes a write to the disk below the file system by machine number owner. Its run may begin a moment later; that
// nobody else writes before, is seen then.
func (j *Judge) FileSystem(owner int, at time.Time, offset int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.files++
	if len(j.runs) > 0 && j.runs[len(j.runs)-1].Owner == uint32(owner) {
		j.resolve(0, false)
		return
	}
	if j.early != nil && j.early.owner == owner {
		return
	}
	j.resolve(0, false)
	j.early = &early{owner, at, offset}
}

// Confirm takes a confirmation.
func (j *Judge) Confirm(c Confirmation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.confirmed++
	if c.Kind == InFile {
		if old, is := j.records[c.Number]; is && old != c.Block {
			j.accuse(Lost, "record %d of n%d was confirmed, and n%d was told the same number", c.Number, old.Owner, c.Owner)
		}
		j.records[c.Number] = c.Block
		return
	}
	if r := j.known[c.Run]; r == nil {
		j.accuse(Lost, "block %d of n%d was confirmed, and has not landed", c.Number, c.Owner)
	} else {
		r.confirmed = max(r.confirmed, c.Number)
	}
}

// Listen has the judge hear confirmations on a socket until that is closed.
func (j *Judge) Listen(socket net.PacketConn) {
	b := make([]byte, 256)
	for {
		n, _, err := socket.ReadFrom(b)
		if err != nil {
			return
		}
		if c, err := readDatagram(b[:n]); err == nil {
			j.Confirm(c)
		}
	}
}

// Runs is what was seen so far, in the order in which the runs began.
func (j *Judge) Runs() []RunSeen {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]RunSeen, len(j.runs))
	for i, r := range j.runs {
		list[i] = *r
	}
	return list
}

// Takeovers counts the runs whose owner is another than that of the run before.
func (j *Judge) Takeovers() (n int) {
	runs := j.Runs()
	for i := 1; i < len(runs); i++ {
		if runs[i].Owner != runs[i-1].Owner {
			n++
		}
	}
	return n
}

// Crimes is what was found, in words.
func (j *Judge) Crimes() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.crimes...)
}

// Sum says how much was judged.
func (j *Judge) Sum() string {
	runs, takeovers := len(j.Runs()), j.Takeovers()
	j.mu.Lock()
	defer j.mu.Unlock()
	var blocks uint64
	for _, r := range j.runs {
		blocks += r.Newest - r.Lowest + 1
	}
	return fmt.Sprintf("%d runs of the writer, %d takeovers, %d blocks, %d records, %d confirmations, %d writes to the file system's disk",
		runs, takeovers, blocks, len(j.records), j.confirmed, j.files)
}

// Audit compares what has landed and what stands there at the end with what was confirmed: each owner went on behind all that
// was confirmed before it, and every confirmed block and record is there, unless a newer block has taken its slot.
func (j *Judge) Audit(disk io.ReaderAt, file []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.resolve(0, false)
	var confirmed uint64
	for _, r := range j.runs {
		if r.Lowest <= confirmed {
			j.accuse(Lost, "n%d began with block %d, and block %d was confirmed before", r.Owner, r.Lowest, confirmed)
		}
		confirmed = max(confirmed, r.confirmed)
	}
	b := make([]byte, Size)
	for slot := range uint64(Slots) {
		if _, err := disk.ReadAt(b, int64(slot)*Size); err != nil {
			return err
		}
		k, err := Decode(b)
		// The newest confirmed number that belongs there.
		want := confirmed - (confirmed+Slots-slot)%Slots
		if err != nil || want <= confirmed && k.Number < want {
			j.accuse(Lost, "slot %d has block %d (%v), and %d was confirmed", slot, k.Number, err, want)
		}
	}
	list, whole := Records(file)
	if !whole {
		j.accuse(Torn, "the file ends with something else behind record %d", len(list))
	}
	for n, k := range j.records {
		if n > uint64(len(list)) || list[n-1] != k {
			j.accuse(Lost, "record %d of n%d was confirmed, and the file has not got it", n, k.Owner)
		}
	}
	return nil
}
