package bmc

import (
	"regexp"
	"strconv"
	"strings"
)

// withoutSecrets gives as much of a reference that was refused as cannot be a
// password, for messages: who got the form wrong may have written one anywhere.
// Shown are the scheme, the user, a host of the usual form, the path of a system
// and the name of an agent; never an option.
func withoutSecrets(text string) string {
	head, _, options := strings.Cut(text, "?")
	tail := ""
	if options {
		tail = "?..."
	}
	if name, ok := strings.CutPrefix(head, WayAgent+":"); ok {
		return WayAgent + ":" + strings.Trim(shown(name), `"`) + tail
	}
	scheme, _, ok := strings.Cut(head, "://")
	if !ok || !regexp.MustCompile(`^[a-z][a-z+]{1,15}$`).MatchString(scheme) {
		return "..."
	}
	// The password may hold a question mark, so the last @ counts.
	rest := text[len(scheme)+len("://"):]
	user, found := "", strings.LastIndex(rest, "@")
	if found >= 0 {
		var hasPassword bool
		if user, _, hasPassword = strings.Cut(rest[:found], ":"); hasPassword {
			user += ":..."
		}
		if user, rest = user+"@", rest[found+1:]; strings.ContainsAny(user, "?/#") {
			user = "...@"
		}
	}
	place, _, options := strings.Cut(rest, "?")
	if !options {
		tail = ""
	}
	if !regexp.MustCompile(`^([a-zA-Z0-9._-]*|\[[0-9a-fA-F:.]+(%[a-zA-Z0-9.]+)?\])(:[0-9]{1,5})?((/redfish/v1)?/Systems/[a-zA-Z0-9._-]+)?/?$`).MatchString(place) {
		place = "..."
	}
	return scheme + "://" + user + place + tail
}

// shown quotes a name for a message if it looks like one, and not like half of a
// password with an = or & in it.
func shown(name string) string {
	if regexp.MustCompile(`^(/[a-z/]{1,64}/)?[a-z][a-z_-]{0,31}$`).MatchString(name) {
		return strconv.Quote(name)
	}
	return `"..."`
}
