package form

import (
	"net/netip"
	"path"
	"regexp"
	"strings"
)

// Like makes a check of a text: it returns what is wrong, "" if nothing is.
func Like(pattern, wrong string) func(string) string {
	re := regexp.MustCompile(pattern)
	return func(s string) string {
		if re.MatchString(s) {
			return ""
		}
		return wrong
	}
}

// Parsed makes a check of what a function reads.
func Parsed[T any](read func(string) (T, bool), wrong string) func(string) string {
	return func(s string) string {
		if _, ok := read(s); ok {
			return ""
		}
		return wrong
	}
}

// Absolute checks an absolute path in its shortest form.
func Absolute(s string) string {
	switch {
	case !strings.HasPrefix(s, "/"):
		return "is no absolute path"
	case s != path.Clean(s):
		return "is not written in its shortest form, " + path.Clean(s)
	}
	return ""
}

// IPAddress checks the address of a machine.
func IPAddress(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
		return "is no IP address of a machine"
	}
	return ""
}

// IPPrefix checks the address of a machine with the length of its network.
func IPPrefix(s string) string {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return "is no address with its prefix length"
	case IPAddress(p.Addr().String()) != "":
		return "cannot be the address of a service"
	case p.Addr().BitLen()-p.Bits() > 1 && p.Masked().Addr() == p.Addr():
		return "is the address of the network itself"
	}
	return ""
}
