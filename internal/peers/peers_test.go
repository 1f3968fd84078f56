package peers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/holdfast-ha/holdfast/internal/peers"
)

func key(b byte) (k [32]byte) {
	for i := range k {
		k[i] = b
	}
	return k
}

// address is one of the loopback that nobody listens on.
func address(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func identity(t *testing.T, current, previous [32]byte) *peers.Identity {
	t.Helper()
	id, err := peers.NewIdentity(current, previous)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// open runs a door until the test ends, and waits until it is open.
func open(t *testing.T, a netip.AddrPort, id *peers.Identity) *peers.Door {
	t.Helper()
	d := peers.NewDoor([]netip.AddrPort{a}, id, zerolog.Nop())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- d.Run(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "asked %s", r.URL) }))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
		c, err := net.Dial("tcp", a.String())
		if err == nil {
			_ = c.Close()
			return d
		}
		if time.Now().After(end) {
			t.Fatalf("waited for the door to open: %v", err)
		}
	}
}

func get(t *testing.T, id *peers.Identity, a ...netip.AddrPort) (string, error) {
	t.Helper()
	c := peers.NewClient(id)
	defer c.Close()
	resp, err := c.Get(t.Context(), a, "/v1/status?x=1")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// TestWhoMayAsk: the cluster's key opens the door, and nothing else; while a key is
// exchanged, either does; an address that is silent is passed over.
func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	a, none := address(t), address(t)
	open(t, a, identity(t, key(1), key(2)))
	for _, k := range []byte{1, 2} {
		if text, err := get(t, identity(t, key(k), key(3-k)), none, a); err != nil || text != "asked /v1/status?x=1" {
			t.Errorf("key %d: %q, %v", k, text, err)
		}
	}
	if text, err := get(t, identity(t, key(3), key(1)), a); err == nil {
		t.Errorf("a stranger that accepts our key is answered %q", text)
	}
	if text, err := get(t, identity(t, key(3), [32]byte{}), a); !errors.Is(err, peers.ErrStranger) {
		t.Errorf("another cluster is answered %q, %v", text, err)
	}
	if text, err := get(t, identity(t, key(1), [32]byte{})); err == nil {
		t.Errorf("nobody answers %q", text)
	}
}

// TestNoCertificate: whoever shows no key at all gets no answer.
func TestNoCertificate(t *testing.T) {
	t.Parallel()
	a := address(t)
	open(t, a, identity(t, key(1), [32]byte{}))
	c, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "HFPEER1\n"); err != nil {
		t.Fatal(err)
	}
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if text, failed := io.ReadAll(s); failed == nil && err == nil {
		t.Errorf("answered %q", text)
	}
}

// TestStrangers: who is no node is led to whoever waits, and nowhere if nobody does.
func TestStrangers(t *testing.T) {
	t.Parallel()
	a := address(t)
	d := open(t, a, identity(t, key(1), [32]byte{}))
	l, err := d.Strangers(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Strangers(a); err == nil {
		t.Error("two wait for strangers")
	}
	if _, err := d.Strangers(address(t)); err == nil {
		t.Error("a closed door lets strangers in")
	}
	stranger, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := io.WriteString(stranger, "\x16hello"); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 6)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "\x16hello" {
		t.Errorf("%q, %v", buf, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, begin := range []string{"\x16hello", "HELLO123"} { // nobody waits any more; another protocol
		lost, err := net.Dial("tcp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		defer lost.Close()
		_ = lost.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.WriteString(lost, begin)
		if n, failed := lost.Read(buf); err == nil && (n > 0 || failed == nil || strings.Contains(failed.Error(), "timeout")) {
			t.Errorf("%q is let in: %d bytes, %v", begin, n, failed)
		}
	}
	if again, err := d.Strangers(a); err != nil {
		t.Error(err)
	} else {
		_ = again.Close()
	}
}

// TestExchangeOfKeys: both ends exchange their key while they talk, and once the old
// one is forgotten whoever has nothing else is a stranger, also on a connection that
// was made before.
func TestExchangeOfKeys(t *testing.T) {
	t.Parallel()
	a := address(t)
	here, there, left := identity(t, key(1), [32]byte{}), identity(t, key(1), [32]byte{}), identity(t, key(1), [32]byte{})
	open(t, a, there)
	asking, behind := peers.NewClient(here), peers.NewClient(left)
	defer asking.Close()
	defer behind.Close()
	ask := func(c *peers.Client, want int) {
		t.Helper()
		resp, err := c.Get(t.Context(), []netip.AddrPort{a}, "/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("status %d, want %d", resp.StatusCode, want)
		}
	}
	ask(behind, http.StatusOK)
	for _, k := range [][2][32]byte{{key(1), key(2)}, {key(2), key(1)}, {key(2)}} {
		for _, id := range []*peers.Identity{there, here} {
			ask(asking, http.StatusOK)
			if err := id.Set(k[0], k[1]); err != nil {
				t.Fatal(err)
			}
		}
		ask(asking, http.StatusOK)
	}
	ask(behind, http.StatusForbidden)
	if resp, err := behind.Get(t.Context(), []netip.AddrPort{a}, "/v1/status"); err == nil {
		_ = resp.Body.Close()
		t.Errorf("who has the old key alone is answered %s", resp.Status)
	}
}
