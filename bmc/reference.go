package bmc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The ways to a controller, the scheme of a reference.
const (
	WayRedfish      = "redfish"      // Redfish over TLS
	WayRedfishPlain = "redfish+http" // Redfish without TLS, for test rigs: the password crosses the network in clear
	WayIPMI         = "ipmi"         // IPMI 2.0 (RMCP+) over UDP
	WayAgent        = "agent"        // an external fence agent
)

// Reference says where the power switch of a machine is. It holds no password.
//
//	redfish://USER@HOST[:PORT][/Systems/ID][?fingerprint=sha256:HEX | ?ca=/FILE | ?tls=insecure][&auth=session][&etag=ignore]
//	redfish+http://USER@HOST[:PORT][/Systems/ID]
//	ipmi://USER@HOST[:PORT][?driver=ipmitool|go][&cipher=17|3]
//	agent:NAME[?OPTION=VALUE&...]
//
// HOST is a name, an IPv4 address or an IPv6 address in brackets, with a zone
// as in [fe80::1%25eth0] or [fe80::1%eth0].
type Reference struct {
	Way     string            // one of the Way constants
	User    string            // who to log in as; empty for agents
	Host    string            // name or address, without brackets
	Port    int               // 0 for the way's own port
	System  string            // Redfish: the id of the system in its collection; empty if there is one only
	Agent   string            // agents: the program, fence_... or an absolute path to one
	Options map[string]string // the rest: options of the way, or of the agent
}

// Parse reads a reference and refuses what cannot work: unknown ways, unknown
// options, passwords, missing parts.
func Parse(text string) (Reference, error) {
	r, err := parse(text)
	if err != nil {
		return Reference{}, fmt.Errorf("power switch %q: %w", withoutSecrets(text), err)
	}
	return r, nil
}

func parse(text string) (Reference, error) {
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			return Reference{}, errors.New("holds a control character")
		}
	}
	if rest, ok := strings.CutPrefix(text, WayAgent+":"); ok {
		return parseAgent(rest)
	}
	u, err := url.Parse(escapeZone(text))
	if err != nil {
		// What url says quotes the text, and a password may stand in it.
		return Reference{}, errors.New("is no URL; special characters in a user or path are written as %XX, and an IPv6 address stands in brackets, as in ipmi://admin@[fe80::1]")
	}
	r := Reference{Way: u.Scheme, Host: u.Hostname(), User: u.User.Username()}
	switch r.Way {
	case WayRedfish, WayRedfishPlain, WayIPMI:
	default:
		return Reference{}, errors.New("is neither redfish://user@host nor ipmi://user@host nor agent:fence_name")
	}
	if _, found := u.User.Password(); found {
		return Reference{}, errors.New("holds a password; it belongs into a file of its own with mode 0600")
	}
	if r.User == "" {
		return Reference{}, errors.New("has no user: write user@host")
	}
	if u.Fragment != "" {
		return Reference{}, errors.New("has a part behind #, which means nothing here")
	}
	if err := r.takeAddress(u); err != nil {
		return Reference{}, err
	}
	if r.System, err = systemOf(r.Way, u.Path); err != nil {
		return Reference{}, err
	}
	if r.Options, err = flat(u.RawQuery); err != nil {
		return Reference{}, err
	}
	return r, r.checkOptions()
}

// takeAddress checks host and port. A host that is neither an address nor a
// plain name could become an option of a program that is given it.
func (r *Reference) takeAddress(u *url.URL) error {
	if r.Host == "" {
		return errors.New("has no host: write user@host")
	}
	if _, err := netip.ParseAddr(r.Host); err != nil {
		for i, c := range r.Host {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
			if !letter && (i == 0 || c != '.' && c != '-') {
				return fmt.Errorf("host %q is neither a name nor an address; an IPv6 address stands in brackets, as in [fe80::1]", r.Host)
			}
		}
	}
	if strings.HasPrefix(r.User, "-") {
		return fmt.Errorf("user %q begins with a hyphen", r.User)
	}
	if p := u.Port(); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("port %q is not between 1 and 65535", p)
		}
		r.Port = n
	}
	return nil
}

// systemOf reads /Systems/ID and /redfish/v1/Systems/ID.
func systemOf(way, p string) (string, error) {
	p = strings.TrimSuffix(p, "/")
	if p == "" {
		return "", nil
	}
	if way == WayIPMI {
		return "", errors.New("has a path, but IPMI knows one machine per address")
	}
	dir, id := path.Split(strings.TrimPrefix(p, "/redfish/v1"))
	if dir != "/Systems/" || id == "" {
		return "", errors.New("has a path that is not of the form /Systems/ID")
	}
	return id, nil
}

// parseAgent reads NAME?OPTION=VALUE&...
func parseAgent(rest string) (Reference, error) {
	name, query, _ := strings.Cut(rest, "?")
	r := Reference{Way: WayAgent, Agent: name}
	if err := checkAgentName(name); err != nil {
		return Reference{}, err
	}
	var err error
	if r.Options, err = flat(query); err != nil {
		return Reference{}, err
	}
	return r, checkAgentOptions(r.Options)
}

// flat reads a query whose names occur once each.
func flat(query string) (map[string]string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("has options that are not of the form NAME=VALUE&NAME=VALUE, with special characters written as %XX")
	}
	if len(values) == 0 {
		return nil, nil
	}
	options := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) != 1 {
			return nil, fmt.Errorf("option %s is given %d times", shown(name), len(values[name]))
		}
		options[name] = values[name][0]
	}
	return options, nil
}

// checkOptions checks the options of Redfish and IPMI.
func (r Reference) checkOptions() error {
	var known map[string]func(string) bool
	oneOf := func(words ...string) func(string) bool {
		return func(v string) bool { return slices.Contains(words, v) }
	}
	switch r.Way {
	case WayRedfish:
		known = map[string]func(string) bool{
			"tls": oneOf("verify", "insecure"), "auth": oneOf("basic", "session"), "etag": oneOf("match", "ignore"), "ca": path.IsAbs,
			"fingerprint": func(v string) bool { _, err := ParseFingerprint(v); return err == nil },
		}
	case WayRedfishPlain:
		known = map[string]func(string) bool{"auth": oneOf("basic", "session"), "etag": oneOf("match", "ignore")}
	case WayIPMI:
		known = map[string]func(string) bool{"driver": oneOf("ipmitool", "go"), "cipher": oneOf("3", "17")}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Options)) {
		valid, ok := known[name]
		if !ok {
			return fmt.Errorf("has an unknown option %s; %s knows %s", shown(name), r.Way, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if !valid(r.Options[name]) {
			return fmt.Errorf("option %s cannot be %q", name, r.Options[name])
		}
	}
	if r.Options["fingerprint"] != "" && (r.Options["tls"] != "" || r.Options["ca"] != "") {
		return errors.New("has a fingerprint and tls or ca: the fingerprint alone decides, leave the others out")
	}
	if r.Options["ca"] != "" && r.Options["tls"] == "insecure" {
		return errors.New("has ca and tls=insecure, which contradict each other")
	}
	return nil
}

// String gives the reference back in a form that Parse reads.
func (r Reference) String() string {
	options := url.Values{}
	for k, v := range r.Options {
		options.Set(k, v)
	}
	query := ""
	if len(options) > 0 {
		// Colons and slashes are easier to read as they are, and legal there.
		query = "?" + strings.NewReplacer("%3A", ":", "%2F", "/").Replace(options.Encode())
	}
	if r.Way == WayAgent {
		return WayAgent + ":" + r.Agent + query
	}
	u := url.URL{Scheme: r.Way, User: url.User(r.User), Host: r.Host}
	if strings.Contains(r.Host, ":") {
		u.Host = "[" + r.Host + "]"
	}
	if r.Port != 0 {
		u.Host += ":" + strconv.Itoa(r.Port)
	}
	if r.System != "" {
		u.Path = "/Systems/" + r.System
	}
	return u.String() + query
}

// Title is the reference as messages name it: without the options of the
// connection, but with those that say which machine an agent switches, and where.
func (r Reference) Title() string {
	telling := map[string]string{}
	for _, name := range []string{"ip", "ipaddr", "ipport", "plug", "port", "uuid"} {
		if v := r.Options[name]; v != "" && r.Way == WayAgent {
			telling[name] = v
		}
	}
	r.Options = telling
	return r.String()
}

// ParseFingerprint reads sha256:HEX, the hash of a certificate in DER. The
// digits may be separated by colons, as openssl x509 -fingerprint prints them.
func ParseFingerprint(text string) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	digits, ok := strings.CutPrefix(strings.ToLower(text), "sha256:")
	raw, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if !ok || err != nil || len(raw) != len(sum) {
		return sum, fmt.Errorf("fingerprint %q is not sha256: and 64 hexadecimal digits", text)
	}
	copy(sum[:], raw)
	return sum, nil
}

// escapeZone writes the % before the zone of an IPv6 address as URLs want it.
func escapeZone(text string) string {
	open, end := strings.Index(text, "["), strings.Index(text, "]")
	if open < 0 || end < open {
		return text
	}
	host := text[open:end]
	if strings.Contains(host, "%") && !strings.Contains(host, "%25") {
		host = strings.Replace(host, "%", "%25", 1)
	}
	return text[:open] + host + text[end:]
}
