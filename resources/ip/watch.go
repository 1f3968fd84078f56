package ip

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/holdfast-ha/holdfast/resources"
)

// settle is how long the kernel's news of links and addresses are gathered before
// they are looked at: a change of one link is told in several messages.
const settle = 20 * time.Millisecond

// Watch implements resources.Watcher by the kernel's news of links and addresses
// (rtnetlink(7), groups LINK, IPV4_IFADDR and IPV6_IFADDR), of the network namespace
// in which it is called. Where they cannot be had the checks have to do.
func (Agent) Watch(ctx context.Context, members func() []resources.Watched, changed func(resources.Watched, string)) {
	told := map[string]string{}
	look := func() {
		now := map[string]string{}
		for _, m := range members() {
			key := m.Service + " " + m.Member
			if now[key] = lost(m); now[key] != "" && now[key] != told[key] {
				changed(m, now[key])
			}
		}
		told = now
	}
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, time.Minute) {
		began := time.Now()
		listen(ctx, look)
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// listen calls look at first, for something may have been missed, and after each
// change, until the subscription or ctx ends.
func listen(ctx context.Context, look func()) {
	done := make(chan struct{})
	links, addresses := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64)
	failed := make(chan struct{}, 2)
	fail := func(error) {
		select {
		case failed <- struct{}{}:
		default:
		}
	}
	err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: fail})
	if err != nil {
		close(done)
		return
	}
	defer drain(links)
	if err := netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{ErrorCallback: fail}); err != nil {
		close(done)
		return
	}
	defer drain(addresses)
	defer close(done)
	look()
	var soon <-chan time.Time
	for {
		open := true
		select {
		case <-ctx.Done():
			return
		case <-failed:
			return
		case _, open = <-links:
		case _, open = <-addresses:
		case <-soon:
			soon = nil
			look()
			continue
		}
		if !open {
			return
		}
		if soon == nil {
			soon = time.After(settle)
		}
	}
}

// drain lets the reader behind a subscription go, which may be about to send.
func drain[T any](news <-chan T) {
	for range news {
	}
}

// lost says what is wrong with a member by what the kernel knows alone.
func lost(m resources.Watched) string {
	spec, err := parse(resources.Request{Spec: m.Spec})
	if err != nil {
		return ""
	}
	present, err := spec.present()
	if err != nil {
		return ""
	}
	if len(present) == 0 {
		return fmt.Sprintf("%s is not on this host any more", spec.Address.Addr())
	}
	link, err := netlink.LinkByIndex(present[0].LinkIndex)
	if err != nil {
		return ""
	}
	if err := usable(link); err != nil {
		return err.Error()
	}
	return ""
}
