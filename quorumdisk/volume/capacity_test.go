package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/register"
	"github.com/holdfast-ha/holdfast/internal/config"
	q "github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/statecodec"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// manyServices is a configuration of n services with five members each. Every
// name in it, and a part of it that no other has, is at random.
func manyServices(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	text := bytes.NewBufferString("cluster:\n  name: hospital\n  failover_within: 30s\nservices:\n")
	for i := range n {
		id := fmt.Sprintf("%04d-%08x", i, r.Uint32())
		fmt.Fprintf(text, `  tenant-%s:
    prefer: [alpha, beta]
    stack:
      - filesystem: {device: /dev/vg_%s/data, at: /srv/%s, type: xfs}
      - filesystem: {device: /dev/vg_%s/log, at: /srv/%s/log, type: ext4}
      - ip: {address: 10.%d.%d.%d/16}
      - exec: {run: [/opt/app/bin/server, --instance, %s, --port, %d]}
      - exec: {run: [/opt/app/bin/export, --instance, %s], grace: 5s}
`, id, id, id, id, id, i%250, i/250, r.IntN(250)+1, id, 10000+i, id)
	}
	return text.Bytes()
}

func twoNodes(text []byte) *cluster.State {
	return &cluster.State{
		Ver: 1000, Cluster: uuid(0xc0), Config: text, ConfigRev: 9, View: 4, DiskGen: 3, Disks: []ident.UUID{uuid(0xd0)},
		Nodes: []cluster.NodeState{{ID: 1, Name: "alpha", Phase: cluster.MemberPhase}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase}},
	}
}

// A thousand services of five members with distinct names fit: as a configuration,
// as a state in which all of them are owned and have failed everywhere, and as the
// status blob of the node that runs them all.
func TestThousandServicesFit(t *testing.T) {
	text := manyServices(1000)
	conf, err := config.ParseCluster("cluster.yaml", text)
	must(t, err)
	if len(conf.Services) != 1000 || len(conf.Services[999].Stack) != 5 {
		t.Fatalf("%d services, the last of %d members", len(conf.Services), len(conf.Services[999].Stack))
	}
	s := twoNodes(text)
	must(t, statecodec.Fits(s, conf))
	blob := &cluster.Blob{Node: 2, Inc: ident.Incarnation{N: 8, Boot: ident.BootID(uuid(5))}, Gen: 1 << 50}
	for i := range conf.Services {
		name := conf.Services[i].Name
		s.Services = append(s.Services, cluster.Grant{
			Service: name, Owner: 2, Inc: blob.Inc, Term: uint64(1000 + i), Why: "alpha died", Want: 1,
			Proof: cluster.Proof{Kind: cluster.ProofTime, Node: 1, Inc: blob.Inc, By: 2, DiskGen: 3, Text: "silent for 9.3 s"},
			Fails: []cluster.Fail{{Node: 1, Count: 2, Text: fmt.Sprintf("start of exec: exit status %d", i)}},
		})
		blob.Released = append(blob.Released, cluster.Released{Service: name, Term: uint64(1000 + i)})
		blob.Services = append(blob.Services, cluster.RunState{Service: name, Term: uint64(1001 + i), State: cluster.Up, Text: fmt.Sprintf("since %d s", i)})
	}
	body, err := statecodec.Encode(s)
	must(t, err)
	t.Logf("the configuration has %d KiB, the body %d of %d KiB", len(text)>>10, len(body)>>10, q.BodySize>>10)
	_, v := formatted(t, 4096)
	_, err = v.WriteBlock(register.Header{Node: 1, Inc: 3, Gen: 9, Ver: s.Ver, Bal: ident.Ballot{Round: 1, Node: 1}}, body, wait)
	must(t, err)
	got, _, err := v.NewestState(wait)
	must(t, err)
	if !reflect.DeepEqual(got, s) {
		t.Error("the state that was read is not the one that was written")
	}
	must(t, v.WriteBlob(blob, wait))
	read, err := v.ReadBlob(2, blob.Gen, wait)
	must(t, err)
	if !reflect.DeepEqual(read, blob) {
		t.Error("the blob that was read is not the one that was written")
	}
}

// What does not fit is refused before it is committed, with sizes and a remedy.
func TestTooManyServicesAreRefused(t *testing.T) {
	text := manyServices(4000)
	conf := &cluster.Config{}
	for i := range 4000 {
		conf.Services = append(conf.Services, cluster.Service{Name: fmt.Sprintf("tenant-%04d", i)})
	}
	err := statecodec.Fits(twoNodes(text), conf)
	if !errors.Is(err, q.ErrTooLarge) || !strings.Contains(err.Error(), "4000 services") || !strings.Contains(err.Error(), "at most 128 KiB") ||
		!strings.Contains(err.Error(), "fewer services") {
		t.Errorf("%v", err)
	}
}

// There is room for 255 nodes: the last one's places are on the disk, nothing
// overlaps, and one read has all beats. 64 of them beat, write their blocks and
// their blobs.
func TestRoomFor255Nodes(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int) {
		l := q.Layout{SectorSize: sector, Nmax: ident.MaxNodes}
		m, o := storagetest.NewMemory(l.MinSize(), sector), options()
		o.Nmax = ident.MaxNodes
		_, err := volume.Create(m.Open("alpha"), o)
		must(t, err)
		v := open(t, m)
		if v.Layout() != l {
			t.Fatalf("layout %+v", v.Layout())
		}
		active := []ident.NodeID{ident.MaxNodes}
		for n := range ident.NodeID(64) {
			active = append(active, n+1)
		}
		for _, n := range active {
			nodeWrites(t, v, n)
		}
		table := make([]byte, l.TableSize())
		must(t, v.ReadTable(table, wait))
		seen := v.Codec().OpenTable(table)
		all, err := v.ReadHeaders(wait)
		must(t, err)
		if len(seen) != ident.MaxNodes || len(all.Valid) != len(active) || len(all.Bad) > 0 {
			t.Fatalf("%d slots, %d headers, bad %v", len(seen), len(all.Valid), all.Bad)
		}
		for _, n := range active {
			nodeReads(t, v, n, seen, all)
		}
		if seen[64].Beat != nil || seen[64].Err != "" {
			t.Errorf("node 65 never wrote: %+v", seen[64])
		}
		if found, err := v.Verify(wait); err != nil || len(found) > 0 {
			t.Errorf("verify: %v, %v", found, err)
		}
		var dump strings.Builder
		if err := v.Dump(&dump, wait); err != nil || !strings.Contains(dump.String(), "255") {
			t.Errorf("dump: %v\n%s", err, dump.String())
		}
	})
}

func bodyOf(n ident.NodeID) []byte { return bytes.Repeat([]byte{byte(n)}, q.BodySize) }

func nodeWrites(t *testing.T, v *volume.Volume, n ident.NodeID) {
	t.Helper()
	inc := ident.Incarnation{N: uint32(n), Boot: ident.BootID(uuid(byte(n)))}
	sector := make([]byte, v.Layout().SectorSize)
	must(t, v.Codec().SealBeat(sector, &q.BeatHeader{Node: n, Inc: inc, Seq: 1, State: cluster.GuardBound}, nil))
	must(t, v.WriteBeat(n, sector, wait))
	_, err := v.WriteBlock(register.Header{Node: n, Inc: 1, Gen: 15}, bodyOf(n), wait)
	must(t, err)
	must(t, v.WriteBlob(&cluster.Blob{Node: n, Inc: inc, Gen: 1}, wait))
	must(t, v.WriteProbe(n, [32]byte{byte(n)}, wait))
}

func nodeReads(t *testing.T, v *volume.Volume, n ident.NodeID, seen []cluster.SeenBeat, all volume.Headers) {
	t.Helper()
	if b := seen[n-1].Beat; b == nil || b.Node != n || b.Inc.N != uint32(n) {
		t.Errorf("beat of node %d: %+v, %s", n, b, seen[n-1].Err)
	}
	for _, h := range all.Valid {
		if h.Node != n {
			continue
		}
		if body, err := v.ReadBody(h, wait); err != nil || !bytes.Equal(body, bodyOf(n)) {
			t.Errorf("body of node %d: %v", n, err)
		}
	}
	if b, err := v.ReadBlob(n, 1, wait); err != nil || b.Inc.N != uint32(n) {
		t.Errorf("blob of node %d: %+v, %v", n, b, err)
	}
	if p, ok, err := v.ReadProbe(n, wait); err != nil || !ok || p[0] != byte(n) {
		t.Errorf("probe of node %d: %v, %v, %v", n, p, ok, err)
	}
}
