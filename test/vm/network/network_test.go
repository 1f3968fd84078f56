package network

import (
	"net"
	"os"
	"testing"
	"time"
)

// TestFaults sends frames by the same sockets as a machine, and puts faults on one way.
func TestFaults(t *testing.T) {
	dir, err := os.MkdirTemp("", "hfnet-") // a test's own folder can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := New(dir, "lan", 7)
	send := map[string]func(data byte){}
	got := map[string]chan byte{}
	for _, name := range []string{"a", "b"} {
		local, peer, err := s.Plug(name)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: local})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		frames := make(chan byte, 1000)
		got[name] = frames
		go func() { // ends with the connection
			b := make([]byte, 100)
			for {
				n, err := conn.Read(b)
				if err != nil {
					return
				}
				frames <- b[n-1]
			}
		}()
		send[name] = func(data byte) {
			frame := make([]byte, 15)
			copy(frame[0:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			copy(frame[6:], name)
			frame[14] = data
			if _, err := conn.WriteToUnix(frame, &net.UnixAddr{Net: "unixgram", Name: peer}); err != nil {
				t.Error(err)
			}
		}
	}
	expect := func(name string, want byte) {
		t.Helper()
		select {
		case b := <-got[name]:
			if b != want {
				t.Errorf("%s got frame %d, want %d", name, b, want)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s did not get frame %d", name, want)
		}
	}
	send["a"](1)
	expect("b", 1)
	s.Set("a", "b", Fault{Loss: 1})
	send["a"](2)
	send["b"](3) // the other way is whole
	expect("a", 3)
	s.Set("a", "b", Fault{Delay: 50 * time.Millisecond})
	at := time.Now()
	send["a"](4)
	expect("b", 4) // and not 2
	if d := time.Since(at); d < 50*time.Millisecond {
		t.Errorf("a frame that waits 50 ms came after %v", d)
	}
	s.Set("a", "b", Fault{Loss: 0.3})
	for i := range 200 {
		send["a"](byte(i))
		send["b"](byte(i)) // answered in order: the switch has seen the one before
		expect("a", byte(i))
	}
	s.Set("a", "b", Fault{})
	send["a"](255) // behind all others: none is 255
	n := 0
	for last := false; !last; n++ {
		select {
		case b := <-got["b"]:
			last = b == 255
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing comes through any more, after %d frames", n)
		}
	}
	if n--; n < 90 || n > 190 {
		t.Errorf("%d of 200 frames came through with a loss of 0.3", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
