package ip_test

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/ip"
)

// heard is a watch of one address in a network namespace, and what it tells.
func heard(t *testing.T, ns netns.NsHandle, address string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	told, ended, began := make(chan string, 16), make(chan struct{}), make(chan error, 1)
	spec, _ := json.Marshal(map[string]string{"address": address})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(ns)
		began <- err
		if err != nil {
			return
		}
		ip.Agent{}.Watch(ctx, func() []resources.Watched { return []resources.Watched{{Service: "orders", Member: "ip", Spec: spec}} },
			func(m resources.Watched, what string) { told <- m.Service + " " + m.Member + ": " + what })
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("the watch does not end")
		}
	})
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	return told
}

func expect(t *testing.T, told <-chan string, words string) {
	t.Helper()
	select {
	case got := <-told:
		if !strings.Contains(got, words) {
			t.Errorf("told %q, want %q", got, words)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%q was not told", words)
	}
}

// An address that somebody removes, and a cable that is pulled, are told without a
// check: once each, and again when it happens again.
func TestWatch(t *testing.T) {
	w := newWire(t)
	w.add("near0", "192.0.2.10/24")
	told := heard(t, w.near, "192.0.2.10/24")
	address, err := netlink.ParseAddr("192.0.2.10/24")
	w.must(err)
	for range 2 {
		w.must(netlink.AddrDel(w.link("near0"), address))
		expect(t, told, "orders ip: 192.0.2.10 is not on this host any more")
		w.add("near0", "192.0.2.10/24")
		w.until("the address is back", func() bool { return w.has("192.0.2.10") })
		w.add("near0", "192.0.2.99/24") // something else happens, and is no news
		w.must(netlink.AddrDel(w.link("near0"), mustAddr(t, "192.0.2.99/24")))
		settle(t, told)
	}
	w.at(w.far)
	w.must(netlink.LinkSetDown(w.link("far0")))
	w.at(w.near)
	expect(t, told, "interface near0 has no carrier")
}

func mustAddr(t *testing.T, text string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// settle gives the watch the time to look at what has happened, in which it must tell
// nothing: it gathers news for a fraction of this.
func settle(t *testing.T, told <-chan string) {
	t.Helper()
	select {
	case got := <-told:
		t.Errorf("told %q although all is well", got)
	case <-time.After(300 * time.Millisecond):
	}
}
