// Package network is an Ethernet switch between machines, in this process. It needs neither root nor a bridge of this
// machine's kernel, and each way between two machines can be cut, made to lose frames or to hold them back, alone or in both
// directions.
package network

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Fault is what happens to frames on the way from one port to another.
type Fault struct {
	Loss  float64       // the part of the frames that is lost: 1 is a cut
	Delay time.Duration // what each of the others waits
}

// Switch connects its ports.
type Switch struct {
	name string
	dir  string
	done sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	ports  []*port
	homes  map[[6]byte]*port // where an address was last seen
	faults map[[2]string]Fault
}

// port is one socket of the switch, facing one of a machine's.
type port struct {
	machine     string
	local, peer string
	conn        *net.UnixConn
	late        chan frame  // from the machine, to be held back
	out         chan []byte // to the machine
}

// frame is one that is held back.
type frame struct {
	due  time.Time
	to   *port
	data []byte
}

// queue is how many frames wait for a machine, or in one that is slow; more are lost, as a switch does it.
const queue = 4096

// New gives a switch without ports, whose sockets are in dir. The seed decides which frames are lost.
func New(dir, name string, seed uint64) *Switch {
	return &Switch{
		name: name, dir: dir, random: rand.New(rand.NewPCG(seed, 1)),
		homes: map[[6]byte]*port{}, faults: map[[2]string]Fault{},
	}
}

// Plug makes a port for a machine. The machine sends from the socket local, which it makes itself, to the socket peer.
func (s *Switch) Plug(machine string) (local, peer string, err error) {
	p := &port{machine: machine, late: make(chan frame, queue), out: make(chan []byte, queue)}
	p.peer = filepath.Join(s.dir, s.name+"-"+machine)
	p.local = p.peer + ".switch"
	if p.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: p.local}); err != nil {
		return "", "", fmt.Errorf("network %s: %w", s.name, err)
	}
	s.mu.Lock()
	s.ports = append(s.ports, p)
	s.mu.Unlock()
	s.done.Add(3)
	go s.carry(p)
	go s.hold(p)
	go s.deliver(p, p.out)
	return p.peer, p.local, nil
}

// Close ends the switch and waits for that.
func (s *Switch) Close() error {
	s.mu.Lock()
	ports := s.ports
	s.ports = nil
	s.mu.Unlock()
	var errs []error
	for _, p := range ports {
		errs = append(errs, p.conn.Close(), os.Remove(p.local))
		s.mu.Lock()
		close(p.out) // nobody finds the port any more
		p.out = nil
		s.mu.Unlock()
	}
	s.done.Wait()
	for i, err := range errs {
		if errors.Is(err, os.ErrNotExist) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// Set puts a fault on the way from one machine to another, or takes it away.
func (s *Switch) Set(from, to string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[[2]string{from, to}] = f
}

// carry takes the frames of one machine to the others, until the port is closed.
func (s *Switch) carry(p *port) {
	defer s.done.Done()
	defer close(p.late)
	buffer := make([]byte, 1<<16)
	for {
		n, err := p.conn.Read(buffer)
		if err != nil {
			return
		}
		if n < 14 {
			continue // no Ethernet frame
		}
		s.forward(p, buffer[:n])
	}
}

func (s *Switch) forward(from *port, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.homes[[6]byte(data[6:12])] = from
	to := s.ports
	if home := s.homes[[6]byte(data[:6])]; home != nil {
		to = []*port{home}
	}
	for _, p := range to {
		f := s.faults[[2]string{from.machine, p.machine}]
		switch {
		case p == from || f.Loss > 0 && s.random.Float64() < f.Loss:
		case f.Delay > 0:
			// Frames are held back at the port that they came by, in order.
			held := frame{time.Now().Add(f.Delay), p, bytes.Clone(data)}
			select {
			case from.late <- held:
			default:
			}
		default:
			p.take(bytes.Clone(data))
		}
	}
}

// take gives a frame to a port's queue. The switch is locked.
func (p *port) take(data []byte) {
	select {
	case p.out <- data: // nil once the port is closed
	default:
	}
}

// hold sends the frames of a port that wait, each when its time has come.
func (s *Switch) hold(p *port) {
	defer s.done.Done()
	for f := range p.late {
		time.Sleep(time.Until(f.due))
		s.mu.Lock()
		f.to.take(f.data)
		s.mu.Unlock()
	}
}

// deliver gives frames to a machine. One that is off or stopped does not take them: then they are lost, as on a wire.
func (s *Switch) deliver(p *port, out <-chan []byte) {
	defer s.done.Done()
	to := &net.UnixAddr{Net: "unixgram", Name: p.peer}
	for data := range out {
		_ = p.conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = p.conn.WriteToUnix(data, to)
	}
}
