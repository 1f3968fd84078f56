package drivers_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
)

// TestRealIPMITool passes the suite with the real program.
func TestRealIPMITool(t *testing.T) {
	if _, err := exec.LookPath("ipmitool"); err != nil {
		t.Skip("ipmitool is not installed: apt-get install ipmitool, or test/setup.sh as root")
	}
	if testing.Short() {
		t.Skip("-short: the program waits a second for each datagram that does not come; run without -short")
	}
	t.Parallel()
	bmctest.TestSwitch(t, bmctest.Way{Identifies: true, Cards: true, Open: func(t *testing.T, m *bmctest.Machine, o bmc.Options) bmc.Switch {
		return open(t, bmctest.NewIPMI(t, m).Reference(t, "cipher=17"), o)
	}})
}

// TestCipherSuites: the better suite is tried first, then the other one.
func TestCipherSuites(t *testing.T) {
	for _, c := range []struct {
		offered []uint8
		options string
		state   bmc.State
	}{
		{[]uint8{3, 17}, "", bmc.On},
		{[]uint8{17}, "", bmc.On},
		{[]uint8{3}, "", bmc.On},
		{[]uint8{3}, "&cipher=17", bmc.Unknown},
		{[]uint8{17}, "&cipher=3", bmc.Unknown},
	} {
		p := bmctest.NewIPMI(t, bmctest.NewMachine(t, bmctest.Honest))
		p.Offer(c.offered...)
		got := open(t, p.Reference(t, "driver=go"+c.options), login).State(t.Context())
		if got.State != c.state || c.state == bmc.Unknown && !strings.Contains(got.Text, "cipher=") {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// TestIPMISessionsAreClosed: the controller has no session left when the calls
// are over. Nobody waits for the answer to a logout, so it may take a moment.
func TestIPMISessionsAreClosed(t *testing.T) {
	p := bmctest.NewIPMI(t, bmctest.NewMachine(t, bmctest.Refusing))
	s := open(t, p.Reference(t, "driver=go"), login)
	for i := range 10 {
		if got := s.State(t.Context()); got.State != bmc.On {
			t.Fatalf("reading %d: %+v", i, got)
		}
		_ = s.Off(t.Context())
	}
	ctx := t.Context()
	deadline := time.After(10 * time.Second)
	for p.Sessions() > 0 {
		select {
		case <-deadline:
			t.Fatalf("%d sessions are still open", p.Sessions())
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestForgedAnswers: somebody on the network who sees the packets and answers
// faster than the controller, but does not know the password, cannot make the
// machine look off. The forger stands between the two and sends, before every
// answer in a session, answers in clear that say "off", the same packet with a
// bit turned, and all earlier packets once more.
func TestForgedAnswers(t *testing.T) {
	m := bmctest.NewMachine(t, bmctest.Honest)
	port, forged := forger(t, bmctest.NewIPMI(t, m).Port)
	s := open(t, parse(t, fmt.Sprintf("ipmi://%s@127.0.0.1:%d?driver=go", bmctest.User, port)), login)
	m.Set(false)
	if got := s.State(t.Context()); got.State != bmc.Off {
		t.Fatalf("%+v", got)
	}
	m.Set(true)
	for range 3 {
		if got := s.State(t.Context()); got.State != bmc.On {
			t.Fatalf("%+v", got)
		}
	}
	if forged() == 0 {
		t.Fatal("nothing was forged: the test tests nothing")
	}
}

// forger passes datagrams on to a controller and back, with forgeries. It gives
// its port and how many answers it forged.
func forger(t *testing.T, controller int) (port int, forged func() int) {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", fmt.Sprintf("[::1]:%d", controller))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var client net.Addr
	var old [][]byte
	count := 0
	var running sync.WaitGroup
	running.Go(func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := front.ReadFrom(buffer)
			if err != nil {
				return
			}
			mu.Lock()
			client = from
			mu.Unlock()
			_, _ = back.Write(buffer[:n])
		}
	})
	running.Go(func() {
		buffer := make([]byte, 2048)
		for {
			n, err := back.Read(buffer)
			if err != nil {
				return
			}
			packet := bytes.Clone(buffer[:n])
			mu.Lock()
			if packet[5] == 0xc0 { // in a session
				for _, f := range append(forgeries(packet), old...) {
					_, _ = front.WriteTo(f, client)
					count++
				}
				old = append(old, packet)
			}
			_, _ = front.WriteTo(packet, client)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = front.Close()
		_ = back.Close()
		running.Wait()
	})
	return front.LocalAddr().(*net.UDPAddr).Port, func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// forgeries gives what somebody can make of a session's packet without its
// keys: answers in clear to every conversation that may be going on, saying
// that the chassis is off, and the packet with bits turned.
func forgeries(packet []byte) [][]byte {
	var all [][]byte
	for conversation := range byte(8) {
		message := []byte{0x81, 0x01 << 2, 0, 0x20, conversation << 2, 0x01, 0x00, 0x60, 0, 0, 0, 0}
		clear := bytes.Clone(packet[:16])
		clear[5] = 0x00
		clear[14], clear[15] = byte(len(message)), 0
		all = append(all, append(clear, message...))
		signed := bytes.Clone(all[len(all)-1])
		signed[5] = 0x40
		all = append(all, append(signed, bytes.Repeat([]byte{7}, 18)...))
	}
	// Byte 23 is what makes "on" in a chassis status "off": a bit of the
	// initialization vector turns the same bit of the first block.
	for _, at := range []int{23, 10, 16, 32, len(packet) - 1} {
		turned := bytes.Clone(packet)
		turned[at] ^= 1
		all = append(all, turned)
	}
	return all
}

// TestPasswordIsNoArgument: whatever ipmitool and agents are started with can be
// read by every user of the machine.
func TestPasswordIsNoArgument(t *testing.T) {
	p := bmctest.NewIPMITool(t, bmctest.NewMachine(t, bmctest.Honest))
	t.Setenv("PATH", filepath.Dir(p.Path)+":"+os.Getenv("PATH"))
	s := open(t, parse(t, "ipmi://"+bmctest.User+"@10.0.0.1"), login)
	_ = s.State(t.Context())
	_ = s.Off(t.Context())
	a := bmctest.NewAgent(t, bmctest.NewMachine(t, bmctest.Honest))
	_ = open(t, a.Reference(t), login).State(t.Context())
	all := strings.Join(append(p.Arguments(), a.Arguments()...), " ")
	if !strings.Contains(all, "10.0.0.1") || strings.Contains(all, bmctest.Password) {
		t.Errorf("arguments: %s", all)
	}
}
