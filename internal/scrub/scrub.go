// Package scrub takes secrets out of texts that leave the machine.
//
// It knows secrets by where they stand: the values of keys such as password in YAML
// files, what those keys name files of, and whatever it is given. What it knows it
// removes from every text, wherever it stands there, as it is and as JSON, URLs,
// hexadecimal digits or base64 would write it. Beside that it removes what tells by
// its form that it is a secret, whoever has written it: join tokens, private keys,
// passwords in addresses, in options and in the headers of requests.
package scrub

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Removed stands where a secret stood.
const Removed = "<removed>"

// least is the length below which a value is not looked for in other texts, bytes:
// it would be found everywhere.
const least = 4

// Scrubber knows secrets. The zero value knows none.
type Scrubber struct {
	secrets []string
	forms   []string // every way to write them, the longest first
	short   bool
}

// Short says that there was a secret of fewer than four bytes, which is not looked
// for: whatever holds the files that it stands in must not leave the machine.
func (s *Scrubber) Short() bool { return s.short }

// Add makes values known; see Short.
func (s *Scrubber) Add(values ...string) {
	for _, v := range values {
		if len(v) < least {
			s.short = s.short || v != ""
			continue
		}
		if slices.Contains(s.secrets, v) {
			continue
		}
		s.secrets = append(s.secrets, v)
		for _, f := range forms(v) {
			if !slices.Contains(s.forms, f) {
				s.forms = append(s.forms, f)
			}
		}
	}
	slices.SortStableFunc(s.forms, func(a, b string) int { return len(b) - len(a) })
}

// Known is how many secrets are known.
func (s *Scrubber) Known() int { return len(s.secrets) }

// forms are the ways in which a secret may be written.
func forms(v string) []string {
	list := []string{v, url.QueryEscape(v), url.PathEscape(v), hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v)))}
	if quoted, err := json.Marshal(v); err == nil {
		list = append(list, string(quoted[1:len(quoted)-1]))
	}
	plain := strings.Trim(fmt.Sprintf("%q", v), `"`)
	list = append(list, plain, strings.ReplaceAll(v, "'", "''"))
	return append(list, base64s(v)...)
}

// base64s are the digits of base64 that a secret alone decides, at each of the three
// places at which it can begin within a longer text.
func base64s(v string) []string {
	var list []string
	for before := range 3 {
		padded := append(make([]byte, before), v...)
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			digits := e.EncodeToString(padded)
			from, to := (before*8+5)/6, len(padded)*8/6
			if to-from >= 6 {
				list = append(list, digits[from:to])
			}
		}
	}
	return list
}

// Clean removes every secret that is known from a text, and what has the form of one.
func (s *Scrubber) Clean(text []byte) []byte {
	for _, f := range s.forms {
		text = bytes.ReplaceAll(text, []byte(f), []byte(Removed))
	}
	for _, f := range formed() {
		text = regexp.MustCompile(f).ReplaceAll(text, []byte("${before}"+Removed))
	}
	return text
}

// formed are what secrets look like that nobody has named: what stands in the group
// before stays.
func formed() []string {
	return []string{
		`(?P<before>\bhf1-)[A-Za-z0-9_-]{16,}`, // a token of holdfast join, as in the log of sudo
		`(?s)(?P<before>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?-----END [A-Z ]*PRIVATE KEY-----`,
		`(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/:@"'<>]+:)[^\s/@"'<>]+@`, // user:password@host
		`(?i)(?P<before>\b(?:proxy-)?authorization: *(?:[a-z]+ +)?)[^\s"']+`,
		`(?i)(?P<before>\b[a-z0-9_-]*(?:password|passwd|passphrase|secret|token|api[_-]?key)=)[^\s"',;&<>]+`,
	}
}

// Holds says whether a text holds a secret that is known.
func (s *Scrubber) Holds(text []byte) bool {
	return slices.ContainsFunc(s.forms, func(f string) bool { return bytes.Contains(text, []byte(f)) })
}

// secretKey is a key whose value is a secret, secretFile one that names the file of
// one.
func secretKey(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	return regexp.MustCompile(`pass(word|wd|phrase)?$|passwd|pwd$|secret|token|community|api_?key|private_?key|key_value|credential`).MatchString(name) && !secretFile(name)
}

func secretFile(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	base, is := strings.CutSuffix(name, "_file")
	return is && (base == "key" || base == "header" || secretKey(base))
}

// Learn makes the secrets of a YAML file known, and gives the files that it names as
// places of more. read gives their content; one that cannot be read has none. A text
// that is no YAML is an error: nobody knows then what is secret in it.
func (s *Scrubber) Learn(text []byte, read func(path string) ([]byte, error)) error {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return fmt.Errorf("look for secrets: %w", err)
	}
	s.walk("", v, read)
	return nil
}

func (s *Scrubber) walk(key string, v any, read func(path string) ([]byte, error)) {
	switch x := v.(type) {
	case map[string]any:
		for k, below := range x {
			if key == "webhook" && k == "url" { // the same as a webhook that is only an address
				k = key
			}
			s.walk(k, below, read)
		}
	case []any:
		for _, below := range x {
			s.walk(key, below, read)
		}
	case string:
		s.value(key, x, read)
	case nil, bool:
	default:
		if secretKey(key) { // a password of digits
			s.Add(fmt.Sprint(x))
		}
	}
}

// value looks at one text: a secret, the place of one, or an address with one in it.
func (s *Scrubber) value(key, v string, read func(path string) ([]byte, error)) {
	switch {
	case secretKey(key), key == "key" && !strings.HasPrefix(v, "/"): // that of an agent; others name a file
		s.Add(v)
	case secretFile(key):
		if text, err := read(v); err == nil {
			s.AddFile(text)
		}
	}
	if u, err := url.Parse(v); err == nil && u.Scheme != "" && u.Host != "" {
		if p, has := u.User.Password(); has {
			s.Add(p)
		}
		if strings.HasPrefix(u.Scheme, "http") && key == "webhook" { // who knows its path may write there
			s.Add(strings.TrimPrefix(u.Path, "/"), u.RawQuery)
		}
	}
}

// AddFile makes the lines of a file of secrets known.
func (s *Scrubber) AddFile(text []byte) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		s.Add(line)
		if _, value, is := strings.Cut(line, ": "); is { // the line of a header: what it says may stand elsewhere alone
			words := strings.Fields(value)
			if n := len(words); n > 0 && len(words[n-1]) >= least {
				s.Add(words[n-1])
			}
		}
		if raw, err := hex.DecodeString(line); err == nil && len(raw) >= 16 { // a key in digits: its bytes are the secret
			s.Add(string(raw))
		}
	}
}
