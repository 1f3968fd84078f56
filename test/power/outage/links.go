package outage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// linksDown takes the node's links down and removes the addresses that were
// added since boot: a service's address must not come back with the power.
func (s Supply) linksDown() error {
	return s.onLinks(func(h *netlink.Handle, l netlink.Link, keep []string) error {
		errs := []error{h.LinkSetDown(l)}
		addrs, err := h.AddrList(l, netlink.FAMILY_ALL)
		errs = append(errs, err)
		for _, a := range addrs {
			if !slices.Contains(keep, a.IPNet.String()) {
				errs = append(errs, h.AddrDel(l, &a))
			}
		}
		return errors.Join(errs...)
	})
}

// LinksUp takes the links up, as a boot does. The addresses are the caller's business.
func (s Supply) LinksUp() error {
	return s.onLinks(func(h *netlink.Handle, l netlink.Link, _ []string) error { return h.LinkSetUp(l) })
}

func (s Supply) onLinks(f func(*netlink.Handle, netlink.Link, []string) error) error {
	if s.NetNS == "" || len(s.Links) == 0 {
		return nil
	}
	ns, err := netns.GetFromPath(s.NetNS)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", s.NetNS, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", s.NetNS, err)
	}
	defer h.Close()
	var errs []error
	for _, link := range s.Links {
		l, err := h.LinkByName(link.Name)
		if err == nil {
			err = f(h, l, link.Keep)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("link %s in %s: %w", link.Name, s.NetNS, err))
		}
	}
	return errors.Join(errs...)
}
