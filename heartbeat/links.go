package heartbeat

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// Config is what Links need.
type Config struct {
	Cluster ident.UUID
	Node    ident.NodeID
	Boot    ident.BootID
	Key     Key
	Local   []netip.AddrPort // this node's address on each link, at most MostLinks
	// Now reads this node's clock. Its first reading is the life of these
	// Links: it must be later than any of a former life in the same boot.
	Now    func() ident.Instant
	Listen func(local netip.AddrPort) (Socket, error) // nil: ListenUDP
}

// MostLinks is the number of links that a cluster may have.
const MostLinks = 8

// waiting is how many messages wait for their reader before new ones are dropped.
const waiting = 512

// Received is a message as one peer sent it. Of each message one copy is handed
// out, the first that was complete, and never one that is older than the last.
type Received struct {
	Message *cluster.Message // nil: it is of a version that this one cannot read; then From and Unread tell of it
	From    ident.NodeID
	Unread  string
	Link    int           // on which it was completed
	At      ident.Instant // on this node's clock
	Sent    ident.Instant // on the sender's clock: to be compared with others of the same boot only
}

// LinkState is how one link to one peer is doing.
type LinkState struct {
	Peer     ident.NodeID
	Link     int
	Heard    ident.Instant // of the last authentic packet; ident.LongAgo if there was none
	Received uint64        // authentic packets of the peer's current life
	Missed   uint64        // packets of that life that did not arrive
	Failed   uint64        // packets that could not be sent
	Problem  string        // why the last one could not be sent; "" if it could
}

// Refused counts packets that were not accepted, by reason.
type Refused struct {
	Malformed uint64 // not a packet of this protocol and version, or not a message
	Foreign   uint64 // of another cluster, for another node, from no peer
	Forged    uint64 // not sealed with a key that is valid here
	Replayed  uint64 // seen before, or of a former life or boot
	Dropped   uint64 // good messages that nobody came to read
}

// Links are a node's heartbeat links. Its methods may be called from any
// goroutine.
type Links struct {
	conf     Config
	life     uint64
	sockets  []Socket
	received chan Received

	mu      sync.Mutex // guards what follows
	keys    []Key      // the first seals, all open
	peers   map[ident.NodeID]*peer
	refused Refused
	packet  []byte // built by Send
}

type peer struct {
	addresses []netip.AddrPort
	number    uint64   // of the last message sent
	counters  []uint64 // of the last packet sent on each link
	seal      cipher.AEAD
	past      past
	open      []cipher.AEAD // for the current boot and life, one for each key
	assembly  assembly
	states    []LinkState
}

// New opens the links. They receive while Run runs.
func New(conf Config) (*Links, error) {
	if n := len(conf.Local); n == 0 || n > MostLinks {
		return nil, fmt.Errorf("heartbeat: %d links, want 1 to %d", n, MostLinks)
	}
	if conf.Node == 0 || conf.Now == nil {
		return nil, errors.New("heartbeat: no node id, or no clock")
	}
	if conf.Listen == nil {
		conf.Listen = ListenUDP
	}
	l := &Links{
		conf: conf, life: uint64(conf.Now()), received: make(chan Received, waiting),
		keys: []Key{conf.Key}, peers: map[ident.NodeID]*peer{},
	}
	for _, a := range conf.Local {
		s, err := conf.Listen(a)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.sockets = append(l.sockets, s)
	}
	return l, nil
}

// Local returns the address of each link, for the others to send to.
func (l *Links) Local() []netip.AddrPort {
	list := make([]netip.AddrPort, len(l.sockets))
	for i, s := range l.sockets {
		list[i] = s.Local()
	}
	return list
}

// Messages gives what was received, in the order of each sender.
func (l *Links) Messages() <-chan Received { return l.received }

// Run receives on all links until the context ends, then closes them. It returns
// nil then, or the error of a link that cannot be read any more.
func (l *Links) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range l.sockets {
		group.Go(func() error { return l.read(ctx, i, s) }) // task "heartbeat link i"
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	err := group.Wait()
	return errors.Join(err, l.Close())
}

// Close closes the links; a Run that is under way ends.
func (l *Links) Close() error {
	var failed error
	for _, s := range l.sockets {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// returnAfter is for how long the boot of a peer that is listened to must have been
// silent before one that it has taken the place of is heard again: two machines with
// one identity take turns no faster, and nobody is suspected by the network alone.
const returnAfter = 10 * time.Second

// mostReadErrors in a row end a link: a socket that fails this often at once is
// broken, while a network that goes away shows no error or a single one.
const mostReadErrors = 100

func (l *Links) read(ctx context.Context, link int, s Socket) error {
	buffer := make([]byte, MostPacket+1)
	for failures := 0; ; {
		n, err := s.Receive(buffer)
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			if failures++; failures > mostReadErrors {
				return fmt.Errorf("heartbeat link %d (%s): receive: %w", link, s.Local(), err)
			}
		default:
			failures = 0
			l.accept(buffer[:n], link)
		}
	}
}

// SetPeers replaces the peers and their addresses, in the order of the links; an
// address that is not valid means that the peer is not on that link. What is
// known of a peer that stays is kept.
func (l *Links) SetPeers(peers map[ident.NodeID][]netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.peers, func(id ident.NodeID, _ *peer) bool { return peers[id] == nil })
	for id, addresses := range peers {
		if id == l.conf.Node || id == 0 || addresses == nil {
			continue
		}
		p := l.peers[id]
		if p == nil {
			p = l.newPeer(id)
			l.peers[id] = p
		}
		p.addresses = slices.Clone(addresses)
	}
}

func (l *Links) newPeer(id ident.NodeID) *peer {
	n := len(l.sockets)
	p := &peer{counters: make([]uint64, n), past: past{line: line{links: make([]window, n)}}, states: make([]LinkState, n)}
	for i := range p.states {
		p.states[i] = LinkState{Peer: id, Link: i, Heard: ident.LongAgo}
	}
	return p
}

// SetKeys changes the cluster key: packets are sealed with key, and opened with
// it or one of others. A rotation gives every node the new key as another first,
// then makes it the key everywhere, then drops the old.
func (l *Links) SetKeys(key Key, others ...Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append([]Key{key}, others...)
	for _, p := range l.peers {
		p.seal, p.open = nil, nil
	}
}

// Send sends a message to a peer on every link, and never waits. The sender and
// the boot are these Links' own, whatever the message says. It fails if the peer
// is not known or the message does not encode; that a link cannot send is no
// error but shows in LinkStates.
func (l *Links) Send(to ident.NodeID, m *cluster.Message) error {
	own := *m
	own.From, own.Inc.Boot = l.conf.Node, l.conf.Boot
	body, err := Encode(&own)
	if err != nil {
		return err
	}
	parts := (len(body) + mostPart - 1) / mostPart
	if parts > mostParts {
		return fmt.Errorf("heartbeat message: %d bytes, at most %d fit", len(body), mostParts*mostPart)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[to]
	if p == nil {
		return fmt.Errorf("heartbeat: send to node %d: not a peer", to)
	}
	p.number++
	one := part{inc: own.Inc.N, number: p.number, sent: l.conf.Now(), parts: uint8(parts)}
	for i := range parts {
		one.part, one.bytes = uint8(i), body[i*mostPart:min((i+1)*mostPart, len(body))]
		for link := range min(len(l.sockets), len(p.addresses)) {
			if p.addresses[link].IsValid() {
				l.transmit(to, p, link, one)
			}
		}
	}
	return nil
}

// transmit seals and sends one packet; l.mu is held.
func (l *Links) transmit(to ident.NodeID, p *peer, link int, content part) {
	p.counters[link]++
	h := header{from: l.conf.Node, to: to, link: uint8(link), cluster: l.conf.Cluster, boot: l.conf.Boot, life: l.life, counter: p.counters[link]}
	if p.seal == nil {
		p.seal = sealer(l.keys[0], h)
	}
	head := h.append(l.packet[:0])
	plain := content.append(make([]byte, 0, preamble+mostPart))
	l.packet = p.seal.Seal(head, nil, plain, head)
	state := &p.states[link]
	state.Problem = ""
	if err := l.sockets[link].Send(l.packet, p.addresses[link]); err != nil {
		state.Failed++
		state.Problem = err.Error()
	}
}

// Arrived judges a packet that has reached this node on a link, as Run does with
// every one that the link's socket gives: for whoever carries packets without one.
// What it completes is then among the Messages.
func (l *Links) Arrived(packet []byte, link int) { l.accept(packet, link) }

// accept judges a packet and, with the last part of a message, hands it out.
func (l *Links) accept(packet []byte, link int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch err := l.take(packet, link); err {
	case nil:
	case errShort, errForeign, errContent:
		l.refused.Malformed++
	case errForged:
		l.refused.Forged++
	case errReplayed:
		l.refused.Replayed++
	default:
		l.refused.Foreign++
	}
}

func (l *Links) take(packet []byte, link int) error {
	h, err := parseHeader(packet)
	if err != nil {
		return err
	}
	p := l.peers[h.from]
	switch {
	case h.cluster != l.conf.Cluster:
		return errCluster
	case h.to != l.conf.Node || int(h.link) != link:
		return errAddress
	case p == nil:
		return errUnknown
	case !p.past.plausible(h):
		return errReplayed
	}
	plain, open, err := l.open(p, h, packet)
	if err != nil {
		return err
	}
	content, err := parsePart(plain)
	if err != nil {
		return err
	}
	ok, fresh := p.past.accept(h, content.inc, p.silent(l.conf.Now()))
	if fresh {
		p.open, p.assembly = open, assembly{}
	}
	if !ok {
		return errReplayed
	}
	return l.deliver(p, h, content)
}

// silent says that the boot of a peer that is listened to has said nothing for long.
func (p *peer) silent(now ident.Instant) bool {
	return !slices.ContainsFunc(p.states, func(s LinkState) bool { return now.Sub(s.Heard) < returnAfter })
}

// open decrypts with the keys of the peer's current life, or with new ones for
// what may be a new life. It returns those for the caller to keep once the packet
// has proved to be of a new life: a forged packet must not displace them.
func (l *Links) open(p *peer, h header, packet []byte) ([]byte, []cipher.AEAD, error) {
	keys := p.open
	if keys == nil || h.boot != p.past.boot || h.life != p.past.life {
		keys = nil
		for _, k := range l.keys {
			keys = append(keys, sealer(k, h))
		}
	}
	for _, k := range keys {
		if plain, err := k.Open(nil, nil, packet[headerLen:], packet[:headerLen]); err == nil {
			if h.boot == p.past.boot && h.life == p.past.life {
				p.open = keys
			}
			return plain, keys, nil
		}
	}
	return nil, nil, errForged
}

// deliver notes the sign of life and completes the message.
func (l *Links) deliver(p *peer, h header, content part) error {
	now := l.conf.Now()
	p.states[h.link].Heard = now
	body := p.assembly.add(content)
	if body == nil {
		return nil
	}
	m, err := Decode(body)
	if other := (*VersionError)(nil); errors.As(err, &other) {
		l.hand(Received{From: h.from, Unread: other.Error(), Link: int(h.link), At: now, Sent: content.sent})
		return errContent
	}
	if err != nil || m.From != h.from || m.Inc.Boot != h.boot || m.Inc.N != content.inc {
		return errContent
	}
	l.hand(Received{Message: m, From: h.from, Link: int(h.link), At: now, Sent: content.sent})
	return nil
}

// hand gives a message to whoever reads them, if there is room.
func (l *Links) hand(r Received) {
	select {
	case l.received <- r:
	default:
		l.refused.Dropped++
	}
}

// LinkStates returns the state of every link to every peer, by peer and link.
func (l *Links) LinkStates() []LinkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []LinkState
	for _, id := range slices.Sorted(maps.Keys(l.peers)) {
		p := l.peers[id]
		for i, s := range p.states {
			w := p.past.links[i]
			s.Received, s.Missed = w.total, w.highest-w.total
			list = append(list, s)
		}
	}
	return list
}

// Refused returns how many packets were refused, and why.
func (l *Links) Refused() Refused {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// Silence is how long ago the peer was heard last on any link, as of now; the
// second value is false if it never was.
func Silence(states []LinkState, id ident.NodeID, now ident.Instant) (time.Duration, bool) {
	last := ident.LongAgo
	for _, s := range states {
		if s.Peer == id {
			last = max(last, s.Heard)
		}
	}
	return now.Sub(last), last != ident.LongAgo
}
