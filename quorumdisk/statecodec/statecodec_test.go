package statecodec_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// filled gives bytes that name themselves in a hex dump.
func filled(first byte) (b [16]byte) {
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func uuid(first byte) ident.UUID { return filled(first) }

func incarnation() ident.Incarnation { return ident.Incarnation{N: 7, Boot: filled(0xb0)} }

func state() *cluster.State {
	proof := cluster.Proof{
		Kind: cluster.ProofTime, Node: 2, Inc: incarnation(), By: 1, DiskGen: 3, Wait: 9200 * time.Millisecond,
		Silent: 9300 * time.Millisecond, Text: "silent for 9.3 s",
	}
	return &cluster.State{
		Ver: 44, Cluster: uuid(0xc0), Config: []byte("cluster:\n  name: hospital\n"), ConfigRev: 7, View: 12,
		Nodes: []cluster.NodeState{
			{ID: 1, Name: "alpha", Host: uuid(0xa0), Links: []string{"10.0.0.1:7400", "10.1.0.1:7400"}, Phase: cluster.MemberPhase, Inc: incarnation()},
			{ID: 2, Name: "beta", Host: uuid(0xa1), Phase: cluster.Out, Fencing: incarnation(), Why: "no beat", Dead: 7, Proof: proof, Standby: true, Life: cluster.NodeLife{
				Protocol: cluster.Protocol2, Fenced: cluster.Fenced{Inc: incarnation(), By: 1, Ver: 43, Asked: true, Why: "silent"},
				Crashes: []time.Duration{time.Minute, 2 * time.Minute}, Quarantine: cluster.Quarantine{Until: time.Hour, Why: "crashed 3 times"},
				Maintenance: cluster.Maintenance{Until: 2 * time.Hour, Remind: time.Hour, By: "root"},
			}},
		},
		Services: []cluster.Grant{
			{
				Service: "orders", Owner: 1, Inc: incarnation(), Term: 5, Pending: []cluster.Pending{{Node: 2, Inc: incarnation()}}, Want: 1, Yield: "payroll", Uses: []string{"filesystem /dev/vg/old"},
				Frozen: true, Why: "beta died", Proof: proof, Fails: []cluster.Fail{{Node: 2, Count: 3, Text: "start: exit status 1"}},
				Maintenance: cluster.Maintenance{Until: time.Hour, By: "root"},
			},
			{Service: "reports", Term: 1, Stopped: true},
		},
		Disks: []ident.UUID{uuid(0xd0), uuid(0xd1), uuid(0xd2)}, DiskGen: 3,
		Change: cluster.DiskChange{
			Stage: cluster.DisksJoint, Disks: []ident.UUID{uuid(0xd0), uuid(0xd1), uuid(0xd3)}, Paths: []string{"/dev/a", "", "/dev/c"},
			Was: []string{"/dev/a"}, By: 1, Inc: incarnation(), Text: "gamma",
		},
		Life: cluster.Life{
			Protocol: cluster.Protocol2, Clock: 5 * time.Minute, Maintenance: cluster.Maintenance{Until: time.Hour, Remind: 50 * time.Minute, By: "ops"},
			Stop: cluster.Stop{On: true, By: "ops"}, Removed: []cluster.Removed{{ID: 3, Dead: 9}},
		},
	}
}

func TestStateRoundTrip(t *testing.T) {
	for name, s := range map[string]*cluster.State{"full": state(), "empty": {}} {
		b, err := statecodec.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := statecodec.Encode(s)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: encoded twice, different bytes, %v", name, err)
		}
		got, err := statecodec.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("%s: decoded\n%+v, want\n%+v", name, got, s)
		}
	}
}

// TestSwitches: where power switches are stands behind everything else, and only
// where a node has said so; there is one form of it.
func TestSwitches(t *testing.T) {
	s := state()
	without, err := statecodec.Plain(s), error(nil)
	s.Nodes[1].Switch = "redfish://admin@10.0.0.12#6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11"
	b, err := statecodec.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := statecodec.Decode(b); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, %v", got, err)
	}
	with := statecodec.Plain(s)
	if !bytes.HasPrefix(with, without) || len(with) != len(without)+4+1+4+len(s.Nodes[1].Switch) {
		t.Errorf("%d bytes without a switch, %d with one", len(without), len(with))
	}
	for name, tail := range map[string][]byte{
		"none":         {0, 0, 0, 0},
		"empty":        {1, 0, 0, 0, 2, 0, 0, 0, 0},
		"no node":      {1, 0, 0, 0, 9, 1, 0, 0, 0, 'x'},
		"out of order": {2, 0, 0, 0, 2, 1, 0, 0, 0, 'x', 1, 1, 0, 0, 0, 'x'},
		"cut off":      {1, 0, 0, 0, 2, 9, 0, 0, 0, 'x'},
	} {
		if got, err := statecodec.ReadPlain(append(bytes.Clone(without), tail...)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Every field of a state is stored: a field that somebody adds to
// cluster.State must not be lost silently.
func TestEveryFieldOfStateIsStored(t *testing.T) {
	for _, v := range []any{cluster.State{}, cluster.NodeState{}, cluster.Grant{}, cluster.Proof{}, cluster.Pending{}, cluster.Fail{}, cluster.Blob{}, cluster.Released{}, cluster.RunState{}, cluster.Payload{}, cluster.Kill{}, cluster.Claim{}, cluster.Lease{}, cluster.Life{}, cluster.DiskChange{}, cluster.NodeLife{}, cluster.Maintenance{}, cluster.Stop{}, cluster.Removed{}, cluster.Fenced{}, cluster.Quarantine{}, ident.Ballot{}, ident.Incarnation{}} {
		want := map[string]int{
			"State": 12, "NodeState": 13, "Grant": 14, "Life": 5, "DiskChange": 7, "NodeLife": 5, "Maintenance": 3, "Stop": 2, "Removed": 2, "Fenced": 5, "Quarantine": 2, "Proof": 8, "Pending": 2, "Fail": 3, "Blob": 5, "Released": 2, "RunState": 4,
			"Payload": 10, "Kill": 4, "Claim": 4, "Lease": 6, "Ballot": 4, "Incarnation": 2,
		}
		if typ := reflect.TypeOf(v); typ.NumField() != want[typ.Name()] {
			t.Errorf("%v has %d fields, the codec knows %d: add the new one to the codec and its format", typ, typ.NumField(), want[typ.Name()])
		}
	}
}

// The uncompressed bytes are pinned; the compressor's may differ by version.
func TestStateGolden(t *testing.T) {
	b, err := statecodec.Encode(state())
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(b[4:], nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "state.hex", hex.Dump(b[:4])+hex.Dump(plain))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; the format on the disk must not change:\n%s\nwant\n%s", path, got, want)
	}
}

func TestStateRefusals(t *testing.T) {
	unsorted, nameless, proof := state(), state(), state()
	unsorted.Nodes[0].ID = 3
	nameless.Services[0].Service = ""
	proof.Nodes[0].Proof.Kind = 99
	for _, s := range []*cluster.State{unsorted, nameless, proof} {
		if _, err := statecodec.Encode(s); !errors.Is(err, q.ErrValue) {
			t.Errorf("encoded an invalid state: %v", err)
		}
	}
	large := state()
	r := rand.New(rand.NewPCG(1, 2))
	for range 140 << 10 {
		large.Config = append(large.Config, byte(r.Uint32()))
	}
	if _, err := statecodec.Encode(large); !errors.Is(err, q.ErrTooLarge) || !strings.Contains(err.Error(), "128 KiB") {
		t.Errorf("a state that does not fit: %v", err)
	}
	good, err := statecodec.Encode(state())
	if err != nil {
		t.Fatal(err)
	}
	pack := func(plain []byte) []byte {
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		return z.EncodeAll(plain, []byte("HFS\x01"))
	}
	for name, c := range map[string]struct {
		body []byte
		want error
	}{
		"empty":         {nil, q.ErrMagic},
		"foreign":       {[]byte("XFS\x01 and more"), q.ErrMagic},
		"newer":         {[]byte{'H', 'F', 'S', byte(statecodec.Newest) + 1, 0}, q.ErrFormat},
		"format 0":      {[]byte("HFS\x00 and more"), q.ErrFormat},
		"no frame":      {[]byte("HFS\x01 and more"), q.ErrValue},
		"cut":           {good[:len(good)-3], q.ErrValue},
		"too long":      {make([]byte, q.BodySize+1), q.ErrTooLarge},
		"bomb":          {pack(make([]byte, statecodec.MaxPlain+1)), q.ErrTooLarge},
		"nothing":       {pack(nil), q.ErrLength},
		"lying length":  {pack(append(make([]byte, 24), 0xff, 0xff, 0xff, 0x7f)), q.ErrLength},
		"trailing byte": {pack(make([]byte, 8+16+4+8+8+4+4+4+4+1+8+8+8+4+1+4+4+1)), q.ErrLength},
	} {
		if _, err := statecodec.Decode(c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// 16 nodes and 100 services with a configuration to match fit.
func TestLargeClusterFits(t *testing.T) {
	s := state()
	s.Services = nil
	for i := range 100 {
		name := fmt.Sprintf("service-%03d", i)
		s.Services = append(s.Services, cluster.Grant{Service: name, Owner: ident.NodeID(i%16 + 1), Inc: incarnation(), Term: uint64(i), Why: "runs where it is preferred"})
		s.Config = fmt.Appendf(s.Config, "  %s:\n    prefer: [alpha, beta]\n    stack:\n      - ip: {address: 192.0.2.%d/24}\n      - systemd: app@%d.service\n", name, i, i)
	}
	b, err := statecodec.Encode(s)
	if err != nil || len(b) > q.BodySize/4 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestPackerForgets: what a Packer gives depends on the value alone, not on what it
// has encoded before.
func TestPackerForgets(t *testing.T) {
	var p statecodec.Packer
	for i := range 50 {
		s := &cluster.State{Ver: uint64(i), Config: bytes.Repeat([]byte(fmt.Sprintf("service: s%d\n", i%7)), 1+i*i)}
		want, err := statecodec.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Encode(s); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("state %d: %x, %v, want %x", i, got, err, want)
		}
		b := blob()
		b.Released[0].Term = uint64(i)
		if want, err = statecodec.EncodeBlob(b); err != nil {
			t.Fatal(err)
		}
		if got, err := p.EncodeBlob(b); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("blob %d: %x, %v, want %x", i, got, err, want)
		}
	}
}
