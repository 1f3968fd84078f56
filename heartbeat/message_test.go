package heartbeat_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
)

func message(t *rapid.T) *cluster.Message {
	fill := func(label string, b []byte) {
		copy(b, rapid.SliceOfN(rapid.Byte(), len(b), len(b)).Draw(t, label))
	}
	u64 := func(label string) uint64 { return rapid.Uint64().Draw(t, label) }
	small := func(label string, most int) byte { return byte(rapid.IntRange(0, most).Draw(t, label)) }
	m := &cluster.Message{
		From: ident.NodeID(small("from", 255)), Phase: cluster.Phase(small("phase", 3)), State: cluster.GuardState(small("state", 5)),
		ViewAcked: u64("view"), LeaseAge: time.Duration(rapid.Int64().Draw(t, "age")),
		Committed: cluster.Claim{
			Ver: u64("ver"), Node: ident.NodeID(small("node", 255)), Gen: u64("gen"),
			Ballot: ident.Ballot{Round: u64("round"), Node: ident.NodeID(small("bnode", 255)), Inc: rapid.Uint32().Draw(t, "binc"), Life: u64("life")},
		},
		Marks: cluster.Marks{Protocol: cluster.Protocol(small("protocol", 255)), Ack: rapid.Bool().Draw(t, "ack"), Leaving: rapid.Bool().Draw(t, "leaving"), Partial: rapid.Bool().Draw(t, "partial")},
	}
	m.Grace.Ask = cluster.GraceAsk{ID: u64("ask"), View: u64("ask view")}
	m.Grace.Promise = cluster.GracePromise{To: ident.NodeID(small("to", 255)), ID: u64("promise"), View: u64("promise view")}
	m.Grace.Promise.Inc.N, m.Grace.Release.N = rapid.Uint32().Draw(t, "promise n"), rapid.Uint32().Draw(t, "release n")
	fill("promise boot", m.Grace.Promise.Inc.Boot[:])
	fill("release boot", m.Grace.Release.Boot[:])
	m.Inc.N, m.DiskGen = rapid.Uint32().Draw(t, "n"), rapid.Uint32().Draw(t, "generation")
	fill("boot", m.Inc.Boot[:])
	fill("host", m.Host[:])
	fill("disks", m.Disks[:])
	fill("reach", m.Reach[:])
	name := rapid.StringMatching(`[a-z0-9-]{1,63}`)
	for range rapid.IntRange(0, 30).Draw(t, "released") {
		m.Released = append(m.Released, cluster.Released{Service: name.Draw(t, "service"), Term: u64("term")})
	}
	for range rapid.IntRange(0, 30).Draw(t, "services") {
		m.Services = append(m.Services, cluster.RunState{
			Service: name.Draw(t, "service"), Term: u64("term"), State: cluster.ServiceState(small("run", 4)),
			Text: rapid.StringN(0, 30, 120).Draw(t, "text"),
		})
	}
	return m
}

func TestMessageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := message(t)
		b, err := heartbeat.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := heartbeat.Decode(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%v\nsent %+v\nread %+v", err, m, got)
		}
		// No prefix is a message, nor is anything longer.
		if _, err := heartbeat.Decode(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, heartbeat.ErrMessage) {
			t.Fatalf("a part of a message is read: %v", err)
		}
		if _, err := heartbeat.Decode(append(b, 0)); !errors.Is(err, heartbeat.ErrMessage) {
			t.Fatalf("a message with a byte more is read: %v", err)
		}
	})
}

// TestFields fails when a field is added to what a message holds: the codec
// would silently drop it.
func TestFields(t *testing.T) {
	for kind, want := range map[reflect.Type]int{
		reflect.TypeFor[cluster.Message](): 15, reflect.TypeFor[cluster.GraceWords](): 3, reflect.TypeFor[cluster.Marks](): 4, reflect.TypeFor[cluster.Claim](): 4, reflect.TypeFor[ident.Ballot](): 4,
		reflect.TypeFor[cluster.GraceAsk](): 2, reflect.TypeFor[cluster.GracePromise](): 4,
		reflect.TypeFor[cluster.Released](): 2, reflect.TypeFor[cluster.RunState](): 4, reflect.TypeFor[ident.Incarnation](): 2,
	} {
		if got := kind.NumField(); got != want {
			t.Errorf("%v has %d fields, the codec knows %d: add the new one to Encode, Decode, this test and its generator, and raise the version",
				kind, got, want)
		}
	}
}

func TestMessageGolden(t *testing.T) {
	m := &cluster.Message{
		From: 2, Inc: ident.Incarnation{N: 7, Boot: ident.BootID{1, 2, 3}}, Host: ident.UUID{4}, Phase: cluster.MemberPhase, State: cluster.GuardBound,
		ViewAcked: 9, Committed: cluster.Claim{Ver: 10, Ballot: ident.Ballot{Round: 11, Node: 2, Inc: 7, Life: 12}, Node: 1, Gen: 13},
		LeaseAge: -1, Disks: cluster.Digest{14}, DiskGen: 0x10026, Reach: [32]byte{15}, Released: []cluster.Released{{Service: "a", Term: 16}},
		Services: []cluster.RunState{{Service: "b", Term: 17, State: cluster.Up, Text: "ok"}}, Marks: cluster.Marks{Protocol: 2, Leaving: true, Partial: true},
		Grace: cluster.GraceWords{
			Ask: cluster.GraceAsk{ID: 18, View: 19}, Promise: cluster.GracePromise{To: 20, Inc: ident.Incarnation{N: 21}, ID: 22, View: 23},
			Release: ident.Incarnation{N: 24, Boot: ident.BootID{25}},
		},
	}
	b, err := heartbeat.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	want := "04" + "04" + "02" + "02" + "07000000" + "01020300000000000000000000000000" + "04000000000000000000000000000000" + "02" + "01" +
		"0900000000000000" + "0a00000000000000" + "0b00000000000000" + "02" + "07000000" + "0c00000000000000" + "01" + "0d00000000000000" +
		"ffffffffffffffff" + "0e00000000000000" + "26000100" + "0f" + strings.Repeat("00", 31) + "06" +
		"1200000000000000" + "1300000000000000" + "14" + "15000000" + strings.Repeat("00", 16) + "1600000000000000" + "1700000000000000" +
		"18000000" + "19" + strings.Repeat("00", 15) +
		"0100" + "0161" + "1000000000000000" + "0100" + "0162" + "1100000000000000" + "02" + "026f6b"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("the format changed:\ngot  %s\nwant %s", got, want)
	}
}

// TestOtherVersions: a message of a later version is read if that says so, without what
// it adds; everything else is refused with a sentence that names both versions.
func TestOtherVersions(t *testing.T) {
	m := &cluster.Message{From: 2, Inc: ident.Incarnation{N: 7}, Marks: cluster.Marks{Protocol: 3, Ack: true}}
	own, err := heartbeat.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	as := func(version, oldest byte, more ...byte) []byte {
		b := append(bytes.Clone(own), more...)
		b[0], b[1] = version, oldest
		return b
	}
	for _, b := range [][]byte{as(own[0], own[0]), as(own[0]+1, own[0]), as(own[0]+1, own[0], 1, 2, 3), as(255, own[0], 9)} {
		if got, err := heartbeat.Decode(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%x: %+v, %v", b[:3], got, err)
		}
	}
	for _, b := range [][]byte{as(own[0]+1, own[0]+1), as(own[0]-1, own[0]-1), {own[0] - 1}, as(own[0]+2, own[0]+1, 1)} {
		other := (*heartbeat.VersionError)(nil)
		_, err := heartbeat.Decode(b)
		if !errors.As(err, &other) || !errors.Is(err, heartbeat.ErrMessage) || other.Version != b[0] {
			t.Errorf("%x: %v", b[:1], err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, fmt.Sprintf("version %d,", b[0])) || !strings.Contains(text, fmt.Sprintf("version %d:", own[0])) {
			t.Errorf("%x: %s", b[:1], text)
		}
	}
	for _, b := range [][]byte{as(own[0], own[0]-1), as(own[0], own[0], 1), as(own[0]+1, own[0])[:20], {own[0]}, {own[0] + 1, own[0]}, {}} {
		other := (*heartbeat.VersionError)(nil)
		if _, err := heartbeat.Decode(b); !errors.Is(err, heartbeat.ErrMessage) || errors.As(err, &other) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestMessageLimits(t *testing.T) {
	long := &cluster.Message{Services: []cluster.RunState{{Service: "a", Text: strings.Repeat("ä", 100) + "\xff"}}}
	b, err := heartbeat.Encode(long)
	if err != nil {
		t.Fatal(err)
	}
	got, err := heartbeat.Decode(b)
	if err != nil || got.Services[0].Text != strings.Repeat("ä", 60) {
		t.Errorf("a long text is cut to %q, %v", got.Services[0].Text, err)
	}
	for _, name := range []string{"", strings.Repeat("a", 64), "\xff"} {
		if _, err := heartbeat.Encode(&cluster.Message{Released: []cluster.Released{{Service: name}}}); err == nil {
			t.Errorf("the service name %q is encoded", name)
		}
	}
	if _, err := heartbeat.Encode(&cluster.Message{Released: make([]cluster.Released, 1025)}); err == nil {
		t.Error("1025 entries are encoded")
	}
}

func FuzzDecode(f *testing.F) {
	b, err := heartbeat.Encode(&cluster.Message{From: 1, Released: []cluster.Released{{Service: "a", Term: 1}}, Services: []cluster.RunState{{Service: "b"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := heartbeat.Decode(b)
		if err != nil {
			if !errors.Is(err, heartbeat.ErrMessage) {
				t.Fatalf("error %v does not wrap ErrMessage", err)
			}
			return
		}
		if b[0] != 4 {
			return // of a later version, whose end is left alone
		}
		again, err := heartbeat.Encode(m)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x is read as %+v, which is written as %x, %v", b, m, again, err)
		}
	})
}
