package storagetest_test

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const second = time.Second

func TestMemory(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(strconv.Itoa(sector), func(t *testing.T) {
			m := storagetest.NewMemory(4<<20, sector)
			storagetest.TestDisk(t, func(*testing.T) storage.Disk { return m.Open("n1") })
		})
	}
}

// sector returns 512 bytes of one value.
func sector(v byte) []byte { return bytes.Repeat([]byte{v}, 512) }

func pair() (m *storagetest.Memory, a, b *storagetest.Handle) {
	m = storagetest.NewMemory(1<<20, 512)
	return m, m.Open("a"), m.Open("b")
}

// holds checks the first byte of the sector at off, past all faults.
func holds(t *testing.T, m *storagetest.Memory, off int64, want byte) {
	t.Helper()
	if got := m.Peek(off, 512); !bytes.Equal(got, sector(want)) {
		t.Errorf("the sector at %d starts with %d, want all %d", off, got[0], want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestHangKeepsTheHandleBusyUntilItLands(t *testing.T) {
	m, a, b := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.Hang, Op: storagetest.Writes, Times: 1})
	data := sector(1)
	wants(t, a.Write(data, 0, second), storage.ErrTimeout)
	clear(data) // belongs to the caller again
	holds(t, m, 0, 0)
	wants(t, a.Read(sector(0), 0, second), storage.ErrBusy)
	wants(t, a.Close(), storage.ErrBusy)
	must(t, b.Write(sector(2), 0, second))
	must(t, m.Open("a").Read(sector(0), 0, second)) // a boots again

	pending := m.Pending()
	if len(pending) != 1 || pending[0].Node != "a" || pending[0].Landed {
		t.Fatalf("pending: %+v", pending)
	}
	m.Land(pending[0].ID) // the write of the former life lands after b's
	holds(t, m, 0, 1)
	must(t, a.Write(sector(3), 0, second))
	must(t, a.Close())
}

func TestDroppedWriteHasNoEffect(t *testing.T) {
	m, a, _ := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.Hang, Times: 1})
	wants(t, a.Write(sector(1), 0, second), storage.ErrTimeout)
	m.Drop(m.Pending()[0].ID)
	holds(t, m, 0, 0)
	must(t, a.Write(sector(2), 0, second))
}

func TestHangAfterHasTakenEffect(t *testing.T) {
	m, a, _ := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.HangAfter})
	wants(t, a.Write(sector(1), 0, second), storage.ErrTimeout)
	holds(t, m, 0, 1)
	wants(t, a.Read(sector(0), 0, second), storage.ErrBusy)
	m.Drop(m.Pending()[0].ID)
	must(t, a.Read(sector(0), 0, second))
}

func TestLateWritesCanBeReordered(t *testing.T) {
	m, a, _ := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.Late, Times: 2})
	must(t, a.Write(sector(1), 0, second))
	must(t, a.Write(sector(2), 0, second))
	must(t, a.Write(sector(3), 0, second))
	p := m.Pending()
	m.Land(p[1].ID)
	holds(t, m, 0, 2)
	m.Land(p[0].ID)
	holds(t, m, 0, 1)
	if p := m.Pending(); len(p) != 0 {
		t.Errorf("still pending: %+v", p)
	}
}

func TestGhostLandsAgain(t *testing.T) {
	m, a, b := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.Ghost, Times: 1})
	must(t, a.Write(sector(1), 0, second))
	must(t, b.Write(sector(2), 0, second))
	id := m.Pending()[0].ID
	m.LandQuietly(id)
	holds(t, m, 0, 1)
	must(t, b.Write(sector(3), 0, second))
	m.Land(id)
	holds(t, m, 0, 1)
}

func TestTornWriteLandsInPart(t *testing.T) {
	for _, err := range []error{nil, syscall.EIO} {
		m, a, _ := pair()
		a.Inject(storagetest.Fault{Kind: storagetest.Torn, Sectors: 2, Err: err, Silent: err == nil})
		wants(t, a.Write(bytes.Repeat(sector(1), 4), 512, second), err)
		holds(t, m, 512, 1)
		holds(t, m, 1024, 1)
		holds(t, m, 1536, 0)
	}
}

func TestTornSector(t *testing.T) {
	m, a, _ := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.Torn, Sectors: 1, Bytes: 100})
	wants(t, a.Write(bytes.Repeat(sector(1), 2), 0, second), syscall.EIO)
	holds(t, m, 0, 1)
	if got := m.Peek(512, 512); !bytes.Equal(got, append(bytes.Repeat([]byte{1}, 100), make([]byte, 412)...)) {
		t.Errorf("the torn sector is % x", got)
	}
}

func TestFailedWriteMayLandLate(t *testing.T) {
	m, a, b := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.FailLate, Times: 1})
	wants(t, a.Write(sector(1), 0, second), syscall.EIO)
	holds(t, m, 0, 0)
	must(t, a.Write(sector(2), 512, second)) // the handle waits for nothing
	must(t, b.Write(sector(3), 0, second))
	m.Land(m.Pending()[0].ID)
	holds(t, m, 0, 1)
}

func TestLostAndMisdirectedWritesClaimSuccess(t *testing.T) {
	m, a, _ := pair()
	a.Inject(storagetest.Fault{Kind: storagetest.Lost, Times: 1})
	a.Inject(storagetest.Fault{Kind: storagetest.Misdirected, Shift: 512})
	must(t, a.Write(sector(1), 0, second))
	holds(t, m, 0, 0)
	must(t, a.Write(sector(2), 0, second))
	holds(t, m, 0, 0)
	holds(t, m, 512, 2)
	buf := sector(9)
	must(t, a.Read(buf, 0, second))
	if buf[0] != 2 {
		t.Errorf("the misdirected read returned %d", buf[0])
	}
}

func TestStaleReadSeesThePast(t *testing.T) {
	_, a, b := pair()
	must(t, a.Write(sector(1), 0, second))
	b.Inject(storagetest.Fault{Kind: storagetest.Stale})
	must(t, a.Write(sector(2), 0, second))
	buf := sector(0)
	must(t, b.Read(buf, 0, second))
	if buf[0] != 1 {
		t.Errorf("stale read: %d, want 1", buf[0])
	}
	b.Heal()
	must(t, b.Read(buf, 0, second))
	if buf[0] != 2 {
		t.Errorf("healed read: %d, want 2", buf[0])
	}
}

func TestFailuresByRangeCountAndCause(t *testing.T) {
	m, a, b := pair()
	a.Inject(storagetest.Fault{Off: 512, Len: 512, Skip: 1, Times: 1})
	must(t, a.Write(sector(1), 512, second)) // skipped
	must(t, a.Write(sector(1), 0, second))
	must(t, a.Write(sector(1), 1024, second))
	wants(t, a.Read(make([]byte, 1024), 0, second), syscall.EIO)
	must(t, a.Read(make([]byte, 1024), 0, second))

	for _, f := range []storagetest.Fault{storagetest.NoSpace(), storagetest.WriteProtected()} {
		a.Inject(f)
		wants(t, a.Write(sector(2), 0, second), f.Err)
		must(t, a.Read(sector(0), 0, second))
		must(t, b.Write(sector(1), 0, second)) // a fault is one node's
		a.Heal()
	}
	a.Inject(storagetest.Fault{Kind: storagetest.FailAfter})
	wants(t, a.Write(sector(3), 0, second), syscall.EIO)
	holds(t, m, 0, 3)
}

func TestSnapshotRestoreAndClone(t *testing.T) {
	m, a, _ := pair()
	must(t, a.Write(sector(1), 0, second))
	past := m.Snapshot()
	id := storage.Identity{Kind: "naa", Value: "6bb"}
	clone := m.Clone(id)
	must(t, a.Write(sector(2), 0, second))
	m.Poke(700, []byte{5})
	if got := m.Peek(700, 1)[0]; got != 5 {
		t.Errorf("poked 5, peeked %d", got)
	}
	holds(t, clone, 0, 1)
	if got := clone.Open("a").Info().Identity; got != id {
		t.Errorf("the clone is %v", got)
	}
	m.Restore(past)
	holds(t, m, 0, 1)
	if got := m.Peek(700, 1)[0]; got != 0 {
		t.Errorf("restored, but byte 700 is %d", got)
	}
	m.SetIdentity("/dev/other", id)
	if i := m.Open("a").Info(); i.Path != "/dev/other" || i.Identity != id {
		t.Errorf("renamed, but %+v", i)
	}
}

func TestBeforeLetsAnotherNodeIn(t *testing.T) {
	m, a, b := pair()
	m.SetBefore(func(r storagetest.Request) {
		if r.Node == "a" && r.Op == storagetest.Reads {
			must(t, b.Write(sector(7), 0, second))
		}
	})
	buf := sector(0)
	must(t, a.Read(buf, 0, second))
	if buf[0] != 7 {
		t.Errorf("read %d, want what b wrote just before", buf[0])
	}
}

func TestHangTakesItsTimeoutInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := pair()
		m.SetElapse(time.Sleep)
		a.Inject(storagetest.Fault{Kind: storagetest.Hang})
		start := time.Now()
		wants(t, a.Read(sector(0), 0, 2*second), storage.ErrTimeout)
		wants(t, a.Read(sector(0), 0, 3*second), storage.ErrBusy)
		if took := time.Since(start); took != 5*second {
			t.Errorf("took %v of virtual time, want 5s", took)
		}
		m.Drop(m.Pending()[0].ID)
		must(t, a.Close())
		wants(t, a.Read(sector(0), 0, second), os.ErrClosed)
	})
}
