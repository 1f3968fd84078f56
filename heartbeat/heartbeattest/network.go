// Package heartbeattest is a network in memory for the heartbeat's links: it
// loses, repeats, reorders and cuts as it is told, always the same way for the
// same seed. Suite is what it has in common with real UDP.
package heartbeattest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/holdfast-ha/holdfast/heartbeat"
)

// Faults are probabilities from 0 to 1 for each datagram.
type Faults struct {
	Lose    float64
	Repeat  float64
	Reorder float64 // it arrives after the next one to the same address
}

// queue is how many datagrams a socket holds before it drops, as UDP does.
const queue = 1024

// Network connects sockets by their addresses. It has no time of its own: what
// is not lost or held back arrives at once.
type Network struct {
	mu      sync.Mutex
	rand    *rand.Rand
	faults  Faults
	sockets map[netip.AddrPort]*socket
	cut     map[path]bool
	held    map[netip.AddrPort][]byte
	taps    []func(from, to netip.AddrPort, b []byte)
	ports   uint16
}

type path struct{ from, to netip.AddrPort }

// New returns a network without faults.
func New(seed uint64) *Network {
	return &Network{
		rand: rand.New(rand.NewPCG(seed, 0)), sockets: map[netip.AddrPort]*socket{},
		cut: map[path]bool{}, held: map[netip.AddrPort][]byte{}, ports: 40000,
	}
}

// Listen opens a link, as heartbeat.Config.Listen; port 0 takes a free one.
func (n *Network) Listen(local netip.AddrPort) (heartbeat.Socket, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if local.Port() == 0 {
		n.ports++
		local = netip.AddrPortFrom(local.Addr(), n.ports)
	}
	if n.sockets[local] != nil {
		return nil, fmt.Errorf("listen %s: address in use", local)
	}
	s := &socket{network: n, local: local, in: make(chan []byte, queue), closed: make(chan struct{})}
	n.sockets[local] = s
	return s, nil
}

// SetFaults changes what happens to datagrams from now on.
func (n *Network) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Cut stops datagrams from one address to another, in this direction only.
func (n *Network) Cut(from, to netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[path{from, to}] = true
}

// Heal undoes every Cut and delivers what was held back.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	for to, b := range n.held {
		n.put(to, b)
	}
	clear(n.held)
}

// Tap calls do for every datagram that is sent, before any fault. It must not
// use the network.
func (n *Network) Tap(do func(from, to netip.AddrPort, b []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taps = append(n.taps, do)
}

// Inject delivers a datagram whatever the faults and cuts.
func (n *Network) Inject(to netip.AddrPort, b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.put(to, slices.Clone(b))
}

func (n *Network) send(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, tap := range n.taps {
		tap(from, to, slices.Clone(b))
	}
	if n.cut[path{from, to}] || n.rand.Float64() < n.faults.Lose {
		return
	}
	copies := 1
	if n.rand.Float64() < n.faults.Repeat {
		copies = 2
	}
	for range copies {
		if n.held[to] == nil && n.rand.Float64() < n.faults.Reorder {
			n.held[to] = slices.Clone(b)
			continue
		}
		n.put(to, slices.Clone(b))
		if late := n.held[to]; late != nil {
			delete(n.held, to)
			n.put(to, late)
		}
	}
}

func (n *Network) put(to netip.AddrPort, b []byte) {
	if s := n.sockets[to]; s != nil {
		select {
		case s.in <- b:
		default: // its buffer is full
		}
	}
}

type socket struct {
	network *Network
	local   netip.AddrPort
	in      chan []byte
	closed  chan struct{}
	once    sync.Once
}

func (s *socket) Send(b []byte, to netip.AddrPort) error {
	select {
	case <-s.closed:
		return net.ErrClosed
	default:
	}
	s.network.send(s.local, to, b)
	return nil
}

func (s *socket) Receive(b []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case d := <-s.in:
		return copy(b, d), nil
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

func (s *socket) Local() netip.AddrPort { return s.local }

func (s *socket) Close() error {
	err := net.ErrClosed
	s.once.Do(func() {
		close(s.closed)
		s.network.mu.Lock()
		defer s.network.mu.Unlock()
		delete(s.network.sockets, s.local)
		err = nil
	})
	return err
}
