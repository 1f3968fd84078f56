package heartbeattest

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/heartbeat"
)

// patience bounds every wait of the suite.
const patience = 10 * time.Second

// Suite checks what Links expect of a socket. local is an address with port 0.
func Suite(t *testing.T, local netip.AddrPort, listen func(netip.AddrPort) (heartbeat.Socket, error)) {
	open := func(t *testing.T) heartbeat.Socket {
		s, err := listen(local)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	t.Run("delivers", func(t *testing.T) {
		a, b := open(t), open(t)
		if a.Local() == b.Local() || a.Local().Port() == 0 || a.Local().Addr() != local.Addr() {
			t.Fatalf("local addresses %s and %s", a.Local(), b.Local())
		}
		for _, want := range [][]byte{[]byte("first"), bytes.Repeat([]byte{7}, heartbeat.MostPacket)} {
			if err := a.Send(want, b.Local()); err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, heartbeat.MostPacket+1)
			n := within(t, "a datagram", func() int {
				n, err := b.Receive(buffer)
				if err != nil {
					t.Errorf("receive: %v", err)
				}
				return n
			})
			if !bytes.Equal(buffer[:n], want) {
				t.Errorf("received %d bytes, want the %d that were sent", n, len(want))
			}
		}
	})
	t.Run("send never waits", func(t *testing.T) {
		a, b := open(t), open(t)
		within(t, "sending to somebody who does not read", func() int {
			for range 20000 {
				_ = a.Send(make([]byte, heartbeat.MostPacket), b.Local())
			}
			return 0
		})
	})
	t.Run("close ends receive", func(t *testing.T) {
		a := open(t)
		ended := make(chan error, 1)
		go func() { // ends with the socket
			_, err := a.Receive(make([]byte, 10))
			ended <- err
		}()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("receive after close: %v, want net.ErrClosed", err)
			}
		case <-time.After(patience):
			t.Errorf("receive still waits %v after close", patience)
		}
		if err := a.Send([]byte{1}, a.Local()); err == nil {
			t.Error("a closed socket sends")
		}
	})
	t.Run("the address is taken", func(t *testing.T) {
		a := open(t)
		if b, err := listen(a.Local()); err == nil {
			_ = b.Close()
			t.Error("two sockets on one address")
		}
	})
}

// within returns what do returns, and fails the test if that takes too long.
func within(t *testing.T, what string, do func() int) int {
	t.Helper()
	done := make(chan int, 1)
	go func() { done <- do() }() // ends with do; a test that fails leaves it behind
	select {
	case n := <-done:
		return n
	case <-time.After(patience):
		t.Fatalf("%s takes more than %v", what, patience)
		return 0
	}
}
