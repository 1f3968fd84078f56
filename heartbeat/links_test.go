package heartbeat_test

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/heartbeat"
	"github.com/holdfast-ha/holdfast/heartbeat/heartbeattest"
)

const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ticks is a clock that moves by 1 ms whenever somebody looks.
type ticks struct{ now atomic.Int64 }

func (c *ticks) read() ident.Instant { return ident.Instant(c.now.Add(int64(time.Millisecond))) }

// rig is a set of nodes whose links run until the test ends.
type rig struct {
	t     *testing.T
	net   *heartbeattest.Network
	clock *ticks
	conf  heartbeat.Config // of all nodes
	nodes map[ident.NodeID]*heartbeat.Links
}

func newRig(t *testing.T, listen func(netip.AddrPort) (heartbeat.Socket, error), network *heartbeattest.Network, links ...string) *rig {
	r := &rig{t: t, net: network, clock: &ticks{}, nodes: map[ident.NodeID]*heartbeat.Links{}}
	r.conf = heartbeat.Config{Cluster: ident.UUID{1}, Key: heartbeat.Key{2}, Now: r.clock.read, Listen: listen}
	for _, a := range links {
		r.conf.Local = append(r.conf.Local, netip.AddrPortFrom(netip.MustParseAddr(a), 0))
	}
	return r
}

func inMemory(t *testing.T) *rig {
	n := heartbeattest.New(1)
	return newRig(t, n.Listen, n, "10.0.0.1", "10.0.1.1")
}

// start runs the links of a node, with what change does to its configuration.
// The returned function ends it.
func (r *rig) start(id ident.NodeID, change func(*heartbeat.Config)) (*heartbeat.Links, func()) {
	r.t.Helper()
	conf := r.conf
	conf.Node, conf.Boot = id, ident.BootID{byte(id)}
	if change != nil {
		change(&conf)
	}
	l, err := heartbeat.New(conf)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }() // ends with the context
	var over atomic.Bool
	stop := func() {
		if over.Swap(true) {
			return
		}
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				r.t.Errorf("node %d: Run: %v", id, err)
			}
		case <-time.After(patience):
			r.t.Errorf("node %d: Run goes on %v after its context ended", id, patience)
		}
	}
	r.t.Cleanup(stop)
	r.nodes[id] = l
	r.introduce()
	return l, stop
}

// introduce tells everybody everybody's addresses.
func (r *rig) introduce() {
	peers := map[ident.NodeID][]netip.AddrPort{}
	for id, l := range r.nodes {
		peers[id] = l.Local()
	}
	for _, l := range r.nodes {
		l.SetPeers(peers)
	}
}

func hear(t *testing.T, l *heartbeat.Links) heartbeat.Received {
	t.Helper()
	select {
	case r := <-l.Messages():
		return r
	case <-time.After(patience):
		t.Fatalf("no message within %v; links %+v, refused %+v", patience, l.LinkStates(), l.Refused())
		return heartbeat.Received{}
	}
}

func (r *rig) send(from, to ident.NodeID, m cluster.Message) {
	r.t.Helper()
	if err := r.nodes[from].Send(to, &m); err != nil {
		r.t.Fatal(err)
	}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// large needs many packets.
func large(n int) cluster.Message {
	m := cluster.Message{ViewAcked: uint64(n)}
	for i := range 100 {
		m.Services = append(m.Services, cluster.RunState{Service: fmt.Sprint("service-", i), Term: uint64(n), State: cluster.Up, Text: strings.Repeat("x", i)})
	}
	return m
}

func TestUDP(t *testing.T) {
	heartbeattest.Suite(t, netip.MustParseAddrPort("127.0.0.1:0"), heartbeat.ListenUDP)
}

func TestUDP6(t *testing.T) {
	s, err := heartbeat.ListenUDP(netip.MustParseAddrPort("[::1]:0"))
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback (%v); enable it with net.ipv6.conf.lo.disable_ipv6=0", err)
	}
	probe := s.Send([]byte{0}, s.Local())
	_ = s.Close()
	if probe != nil {
		t.Skipf("this machine's IPv6 loopback does not work (%v); enable it with net.ipv6.conf.lo.disable_ipv6=0", probe)
	}
	heartbeattest.Suite(t, netip.MustParseAddrPort("[::1]:0"), heartbeat.ListenUDP)
}

func TestMemory(t *testing.T) {
	heartbeattest.Suite(t, netip.MustParseAddrPort("10.0.0.1:0"), heartbeattest.New(1).Listen)
}

// Two nodes talk over two links, both ways, small messages and large ones.
func TestExchange(t *testing.T) {
	for name, r := range map[string]*rig{"memory": inMemory(t), "udp": newRig(t, nil, nil, "127.0.0.1", "127.0.0.1")} {
		t.Run(name, func(t *testing.T) {
			a, _ := r.start(1, nil)
			b, _ := r.start(2, nil)
			for i, m := range []cluster.Message{{ViewAcked: 5, Inc: ident.Incarnation{N: 3}, LeaseAge: -1}, large(6)} {
				r.send(1, 2, m)
				got := hear(t, b)
				m.From, m.Inc.Boot = 1, ident.BootID{1}
				if !reflect.DeepEqual(*got.Message, m) || got.Sent <= 0 || got.At <= got.Sent || got.Link < 0 || got.Link > 1 {
					t.Errorf("message %d: got %+v\nof %+v\nwant %+v", i, got.Message, got, m)
				}
			}
			r.send(2, 1, cluster.Message{ViewAcked: 7})
			if got := hear(t, a); got.Message.ViewAcked != 7 || got.Message.From != 2 {
				t.Errorf("got %+v", got.Message)
			}
			eventually(t, "both links heard, nothing missed", func() bool {
				states := b.LinkStates()
				return len(states) == 2 && states[0].Received > 1 && states[0].Received == states[1].Received && states[0].Missed+states[1].Missed == 0
			})
			select {
			case again := <-b.Messages():
				t.Errorf("handed out twice: %+v", again)
			default:
			}
			if f := b.Refused(); f != (heartbeat.Refused{}) {
				t.Errorf("refused %+v", f)
			}
		})
	}
}

// Whatever the network does, every node hears the others in the order in which
// they spoke, and after it heals everything arrives.
func TestFaults(t *testing.T) {
	r := inMemory(t)
	r.start(1, nil)
	b, _ := r.start(2, nil)
	r.net.SetFaults(heartbeattest.Faults{Lose: .2, Repeat: .2, Reorder: .3})
	const sent = 400
	for i := range sent {
		m := cluster.Message{ViewAcked: uint64(i + 1)}
		if i%10 == 0 {
			m = large(i + 1)
		}
		r.send(1, 2, m)
	}
	r.net.SetFaults(heartbeattest.Faults{})
	r.net.Heal()
	r.send(1, 2, large(sent+1))
	heard, last := 0, uint64(0)
	for last != sent+1 {
		got := hear(t, b).Message
		if got.ViewAcked <= last {
			t.Fatalf("message %d after %d", got.ViewAcked, last)
		}
		if len(got.Services) > 0 && !reflect.DeepEqual(got.Services, large(int(got.ViewAcked)).Services) {
			t.Fatalf("message %d was put together wrongly", got.ViewAcked)
		}
		heard, last = heard+1, got.ViewAcked
	}
	if heard < sent/2 {
		t.Errorf("heard %d of %d messages with a fifth of the packets lost on each of two links", heard, sent)
	}
	if f := b.Refused(); f.Replayed == 0 || f.Forged+f.Foreign+f.Malformed+f.Dropped != 0 {
		t.Errorf("refused %+v, want repeated packets only", f)
	}
	if s := b.LinkStates(); s[0].Missed == 0 || s[1].Missed == 0 {
		t.Errorf("links %+v: none missed", s)
	}
}

// A link that is cut in one direction is silent in that direction only; the other
// link carries on.
func TestOneWayCut(t *testing.T) {
	r := inMemory(t)
	a, _ := r.start(1, nil)
	b, _ := r.start(2, nil)
	r.net.Cut(a.Local()[0], b.Local()[0])
	for i := range 5 {
		r.send(1, 2, cluster.Message{ViewAcked: uint64(i)})
		r.send(2, 1, cluster.Message{ViewAcked: uint64(i)})
		if got := hear(t, b); got.Link != 1 {
			t.Errorf("heard over the cut link: %+v", got)
		}
		hear(t, a)
	}
	now := r.clock.read()
	if s := b.LinkStates(); s[0].Heard != ident.LongAgo || s[0].Received != 0 || s[1].Received != 5 {
		t.Errorf("receiver: %+v", s)
	}
	if s, ok := heartbeat.Silence(b.LinkStates(), 1, now); !ok || s <= 0 || s > time.Minute {
		t.Errorf("silence of node 1: %v, %v", s, ok)
	}
	if _, ok := heartbeat.Silence(b.LinkStates(), 3, now); ok {
		t.Error("a node that nobody knows was heard")
	}
	eventually(t, "the other direction is whole", func() bool { s := a.LinkStates(); return s[0].Received == 5 && s[1].Received == 5 })
}

// recorder keeps every packet to an address.
func record(r *rig, to netip.AddrPort) func() [][]byte {
	packets := make(chan []byte, 1000)
	r.net.Tap(func(_, at netip.AddrPort, b []byte) {
		if at == to {
			packets <- b
		}
	})
	return func() [][]byte {
		var list [][]byte
		for {
			select {
			case b := <-packets:
				list = append(list, b)
			default:
				return list
			}
		}
	}
}

// refusedIs waits until the counters say what they should.
func refusedIs(t *testing.T, l *heartbeat.Links, want heartbeat.Refused) {
	t.Helper()
	eventually(t, fmt.Sprintf("refused %+v", want), func() bool {
		if got := l.Refused(); got == want {
			return true
		}
		return false
	})
	select {
	case m := <-l.Messages():
		t.Errorf("accepted %+v", m.Message)
	default:
	}
}

func TestReplay(t *testing.T) {
	r := inMemory(t)
	_, stop := r.start(1, nil)
	b, _ := r.start(2, nil)
	at := b.Local()[0]
	packets := record(r, at)
	inc := func(n uint32) cluster.Message { return cluster.Message{Inc: ident.Incarnation{N: n}} }

	r.send(1, 2, inc(4))
	hear(t, b)
	r.send(1, 2, inc(4))
	hear(t, b)
	firstLife := packets()
	r.net.Inject(at, firstLife[0])
	refusedIs(t, b, heartbeat.Refused{Replayed: 1}) // the same packet again

	stop()
	_, stop = r.start(1, nil) // the daemon restarts within the boot
	r.send(1, 2, inc(4))
	hear(t, b)
	secondLife := packets()
	r.net.Inject(at, firstLife[1])                  // with a counter that this life has not used
	refusedIs(t, b, heartbeat.Refused{Replayed: 2}) // a former life

	stop()
	reboot := func(boot byte) func(*heartbeat.Config) {
		return func(c *heartbeat.Config) { c.Boot = ident.BootID{boot} }
	}
	_, stop = r.start(1, reboot(101))
	r.send(1, 2, inc(5))
	hear(t, b)
	packets()
	r.net.Inject(at, secondLife[0])
	refusedIs(t, b, heartbeat.Refused{Replayed: 3}) // a former boot, known as such

	stop()
	r.start(1, reboot(102))
	r.send(1, 2, inc(3))
	refusedIs(t, b, heartbeat.Refused{Replayed: 5}) // unknown, but an older incarnation, on two links
}

// A packet that was made for somebody or something else is refused.
func TestForeign(t *testing.T) {
	r := inMemory(t)
	r.start(1, nil)
	b, _ := r.start(2, nil)
	c, _ := r.start(3, nil)
	other := *r
	other.nodes = map[ident.NodeID]*heartbeat.Links{2: b}
	packets := record(r, b.Local()[0])
	want := heartbeat.Refused{}

	r.send(1, 2, cluster.Message{})
	hear(t, b)
	sent := packets()[0]
	r.net.Inject(c.Local()[0], sent)
	refusedIs(t, c, heartbeat.Refused{Foreign: 1}) // for another node
	r.net.Inject(b.Local()[1], sent)
	want.Foreign++
	refusedIs(t, b, want) // on another link

	for i := range sent { // one byte changed, anywhere
		changed := append([]byte(nil), sent...)
		changed[i] ^= 0x40
		r.net.Inject(b.Local()[0], changed)
	}
	eventually(t, "every changed packet is refused", func() bool {
		f := b.Refused()
		return f.Malformed+f.Foreign+f.Forged+f.Replayed == want.Foreign+uint64(len(sent))
	})
	want = b.Refused()
	if want.Forged == 0 || want.Malformed != 5 || len(b.Messages()) != 0 {
		t.Errorf("refused %+v with %d messages; want 5 of the magic and version, most as forged", want, len(b.Messages()))
	}
	for _, cut := range []int{0, 1, 55, 105, len(sent) - 1} {
		r.net.Inject(b.Local()[0], sent[:cut])
		if cut < 106 {
			want.Malformed++
		} else {
			want.Forged++
		}
	}
	refusedIs(t, b, want)

	stranger := func(change func(*heartbeat.Config)) {
		t.Helper()
		l, stop := other.start(4, change)
		defer stop()
		b.SetPeers(map[ident.NodeID][]netip.AddrPort{1: r.nodes[1].Local(), 4: l.Local()})
		other.send(4, 2, cluster.Message{})
	}
	stranger(func(c *heartbeat.Config) { c.Cluster[5] = 9 })
	want.Foreign += 2
	refusedIs(t, b, want)
	stranger(func(c *heartbeat.Config) { c.Key[31] = 9 })
	want.Forged += 2
	refusedIs(t, b, want)
}

// During a rotation both keys open; afterwards only the new one does.
func TestKeyRotation(t *testing.T) {
	r := inMemory(t)
	a, _ := r.start(1, nil)
	b, _ := r.start(2, nil)
	old, new := r.conf.Key, heartbeat.Key{77}
	exchanged := uint64(0)
	whole := func(l *heartbeat.Links) func() bool {
		return func() bool { s := l.LinkStates(); return s[0].Received == exchanged && s[1].Received == exchanged }
	}
	exchange := func(what string) {
		t.Helper()
		exchanged++
		r.send(1, 2, cluster.Message{})
		hear(t, b)
		r.send(2, 1, cluster.Message{})
		hear(t, a)
		eventually(t, "nothing of the old key is under way", whole(a))
		eventually(t, "nothing of the old key is under way", whole(b))
		if f := b.Refused(); f.Forged != 0 {
			t.Errorf("%s: %+v", what, f)
		}
	}
	exchange("before")
	a.SetKeys(old, new)
	exchange("one node has the new key")
	b.SetKeys(new, old)
	exchange("one node uses it")
	a.SetKeys(new, old)
	a.SetKeys(new)
	b.SetKeys(new)
	exchange("the old key is gone")
	b.SetKeys(old)
	r.send(1, 2, cluster.Message{})
	refusedIs(t, b, heartbeat.Refused{Forged: 2})
}

func TestSendErrors(t *testing.T) {
	r := inMemory(t)
	a, stop := r.start(1, nil)
	r.start(2, nil)
	if err := a.Send(9, &cluster.Message{}); err == nil || !strings.Contains(err.Error(), "not a peer") {
		t.Errorf("to a stranger: %v", err)
	}
	huge := cluster.Message{Released: make([]cluster.Released, 1000)}
	for i := range huge.Released {
		huge.Released[i].Service = strings.Repeat("a", 63)
	}
	if err := a.Send(2, &huge); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("huge: %v", err)
	}
	stop()
	if err := a.Send(2, &cluster.Message{}); err != nil {
		t.Errorf("a link that cannot send is no error of Send: %v", err)
	}
	for _, s := range a.LinkStates() {
		if s.Peer == 2 && (s.Failed != 1 || s.Problem == "") {
			t.Errorf("closed link: %+v", s)
		}
	}
	if _, err := heartbeat.New(heartbeat.Config{Node: 1, Now: r.clock.read}); err == nil {
		t.Error("no link at all is accepted")
	}
}

// Nobody reads: messages are dropped and counted, and nothing waits.
func TestDropped(t *testing.T) {
	r := inMemory(t)
	r.start(1, nil)
	b, _ := r.start(2, nil)
	for i := range 700 {
		r.send(1, 2, cluster.Message{ViewAcked: uint64(i + 1)})
		if i%100 == 99 {
			eventually(t, "the packets are taken", func() bool { s := b.LinkStates(); return s[0].Received == uint64(i+1) && s[1].Received == uint64(i+1) })
		}
	}
	if f := b.Refused(); f.Dropped != 700-512 {
		t.Errorf("refused %+v, want %d dropped", f, 700-512)
	}
}
