package guardwire

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/lease"
)

var (
	boot   = ident.BootID{0xb0, 1, 2, 15: 9}
	inc    = ident.Incarnation{N: 7, Boot: boot}
	params = Params{
		Lease: cluster.Lease{F: 5 * time.Second, G: 120 * time.Second, TMax: 3 * time.Second, M: 2, Class: cluster.WatchdogQualified, PauseBound: time.Second},
		H:     time.Second, PetPeriod: 100 * time.Millisecond, DiskGen: 4,
	}
)

func orders() []Order {
	return []Order{
		&Hello{}, &Kick{}, &Rekey{},
		&Payload{Bytes: []byte("what the daemon says")},
		&Permission{Inc: inc, Until: 1 << 40}, &Grace{Inc: inc, Until: ident.LongAgo},
		&Claim{Inc: inc, Until: 99, Params: params, Payload: []byte{1, 2, 3}},
		&Stopping{Inc: inc}, &Retire{Inc: inc}, &Cut{For: 9 * time.Second},
		&Reset{Why: "a stop failed"}, &Upgrade{Path: "/usr/sbin/holdfast-guard"},
		&Disks{Gen: 4, Use: []DiskUse{{UUID: ident.UUID{1}, Path: "/dev/disk/by-id/wwn-1", Sets: 3}, {UUID: ident.UUID{2}}}},
	}
}

func messages() []Message {
	return []Message{
		&Echo{Order: KindClaim, OK: true}, &Echo{Order: KindRetire, Err: "another incarnation"},
		&Notice{What: NoticeKilled, At: 5, Node: 3, Text: "kill record"},
		&Table{Disk: 2, UUID: ident.UUID{7}, Wrote: true, Inc: inc, Issued: 1, ReadIssued: 2, Completed: 3, SuperblockOK: true, Bytes: []byte("table"), total: 5},
		&Table{Disk: 1, Err: "input/output error"},
		&Snapshot{
			Now:    77,
			Lease:  lease.View{State: lease.Bound, Inc: inc, Params: lease.Params{F: 1, G: 2}, Carry: lease.Carry{New: lease.Params{F: 3, G: 4}, Used: lease.Params{F: 1, G: 2}, Since: 2}, Start: 3, Permission: 4, Grace: 5, Frozen: true, Killed: true},
			Params: params, Payload: []byte("p"), Seq: 12, Killed: Killed{Ver: 9, At: 8},
			Boot: boot, Host: ident.UUID{1}, Emulated: true, Holder: ProcessHolder, RealTime: "no locked memory",
			Watchdogs: []Watchdog{{Path: "/dev/watchdog0", Identity: "iTCO", Driver: "iTCO_wdt", Timeout: 2, TMax: 3, Class: cluster.WatchdogUnqualified, Software: true, Emulated: true, Why: "no record"}},
			Disks:     []Disk{{Path: "/dev/sdb", UUID: ident.UUID{9}, Open: true, Err: "x", Last: 6}},
		},
	}
}

func TestOrdersComeBackAsTheyWere(t *testing.T) {
	for _, o := range orders() {
		p, err := AppendOrder(nil, 11, 22, o)
		if err != nil {
			t.Fatal(err)
		}
		h, got, err := DecodeOrder(p)
		if err != nil || h != (Header{o.Kind(), 11, 22}) || !reflect.DeepEqual(got, o) {
			t.Errorf("%s: %+v came back as %+v with %+v, %v", o.Kind(), o, got, h, err)
		}
	}
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, m := range messages() {
		h, got, err := DecodeMessage(AppendMessage(nil, 11, 22, m))
		if err != nil || h != (Header{m.Kind(), 11, 22}) || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v came back as %+v with %+v, %v", m.Kind(), m, got, h, err)
		}
	}
}

// The packet of a permission, byte by byte: this is what another version sees.
func TestPermissionIsPinned(t *testing.T) {
	p, _ := AppendOrder(nil, 0x0102, 3, &Permission{Inc: inc, Until: 0x1122})
	want := "48464757" + "01" + "03" + "0000" + "0000000000000102" + "0000000000000003" + "0000001c" +
		"00000007" + "b0010200000000000000000000000009" + "0000000000001122"
	if got := hex.EncodeToString(p); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEveryKindHasAName(t *testing.T) {
	for _, o := range orders() {
		if o.Kind().String() == "unknown" {
			t.Errorf("order %d has no name", o.Kind())
		}
	}
	for _, m := range messages() {
		if m.Kind().String() == "unknown" {
			t.Errorf("message %d has no name", m.Kind())
		}
	}
	for k := NoticeKind(1); k <= lastNotice; k++ {
		if k.String() == "unknown" {
			t.Errorf("notice %d has no name", k)
		}
	}
}

func TestDecodingIsStrict(t *testing.T) {
	good, _ := AppendOrder(nil, 1, 2, &Claim{Inc: inc, Params: params, Payload: []byte{1}})
	change := func(at int, v byte) []byte {
		p := append([]byte(nil), good...)
		p[at] = v
		return p
	}
	for name, c := range map[string]struct {
		packet []byte
		want   error
	}{
		"empty":              {nil, ErrShort},
		"half a header":      {good[:20], ErrShort},
		"half a body":        {good[:len(good)-1], ErrShort},
		"one byte too many":  {append(append([]byte(nil), good...), 0), ErrLength},
		"magic":              {change(0, 'X'), ErrMagic},
		"version":            {change(4, 2), ErrVersion},
		"kind":               {change(5, 60), ErrKind},
		"a guard's kind":     {change(5, byte(KindEcho)), ErrKind},
		"reserved":           {change(7, 1), ErrValue},
		"body of another":    {change(5, byte(KindStopping)), ErrLength},
		"class":              {change(headerSize+20+8+24+1, 99), ErrValue},
		"payload beyond end": {change(len(good)-2, 200), ErrShort},
		"payload too long":   {change(len(good)-3, 200), ErrTooLong},
	} {
		if _, _, err := DecodeOrder(c.packet); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := AppendOrder(nil, 1, 2, &Payload{Bytes: make([]byte, MaxPayload+1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long a payload was encoded: %v", err)
	}
}

func FuzzDecodeOrder(f *testing.F) {
	for _, o := range orders() {
		p, _ := AppendOrder(nil, 1, 2, o)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, o, err := DecodeOrder(p)
		if err != nil {
			return
		}
		back, err := AppendOrder(nil, h.Conn, h.Seq, o)
		if err != nil || string(back) != string(p) {
			t.Errorf("%x decodes to %+v, which encodes to %x, %v", p, o, back, err)
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	for _, m := range messages() {
		f.Add(AppendMessage(nil, 1, 2, m))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, m, err := DecodeMessage(p)
		if _, part := m.(*Table); err != nil || part {
			return // a part of a table is not a table that can be sent
		}
		if back := AppendMessage(nil, h.Conn, h.Seq, m); string(back) != string(p) {
			t.Errorf("%x decodes to %+v, which encodes to %x", p, m, back)
		}
	})
}
