package scrub_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/scrub"
)

const planted = `s3cret & "quoted" 'x'/+`

// TestForms: whatever writes a secret into a text, it is found there and removed.
func TestForms(t *testing.T) {
	t.Parallel()
	var s scrub.Scrubber
	s.Add(planted)
	quoted, err := json.Marshal(map[string]string{"a": planted})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"plain": "password: " + planted + "\n", "json": string(quoted), "hex": hex.EncodeToString([]byte(planted)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(planted))),
		"query": "?p=" + url.QueryEscape(planted), "path": "/" + url.PathEscape(planted), "yaml": "'" + strings.ReplaceAll(planted, "'", "''") + "'",
	}
	for i, around := range []string{"", "a", "ab", "abc"} {
		texts["base64 "+string(rune('0'+i))] = base64.StdEncoding.EncodeToString([]byte(around + planted + around))
		texts["base64url "+string(rune('0'+i))] = base64.URLEncoding.EncodeToString([]byte(around + planted + around))
	}
	for name, text := range texts {
		if !s.Holds([]byte(text)) {
			t.Errorf("%s: not found in %s", name, text)
		}
		clean := s.Clean([]byte("before " + text + " after"))
		if s.Holds(clean) || !strings.Contains(string(clean), scrub.Removed) || !strings.HasPrefix(string(clean), "before ") || !strings.HasSuffix(string(clean), " after") {
			t.Errorf("%s: %s", name, clean)
		}
	}
	if text := []byte("nothing to see, s3cret alone is another word"); s.Holds(text) || string(s.Clean(text)) != string(text) {
		t.Error("found where there is none")
	}
	if s.Short() {
		t.Error("a short secret is known before there is one")
	}
	if s.Add("abc", ""); !s.Short() || s.Known() != 1 {
		t.Error("a word of three letters would be removed from everything")
	}
}

// TestLearn: secrets are known by their keys, by the files that keys name, and by
// their place in an address.
func TestLearn(t *testing.T) {
	t.Parallel()
	var s scrub.Scrubber
	err := s.Learn([]byte(`
cluster: {name: hospital, failover_within: 10s}
services:
  orders:
    stack:
      - ocf: heartbeat:mysql
        with: {user: admin-user, passwd: password-one, test_table: orders-table}
      - iscsi: {target: iqn.x, password_file: /etc/chap}
fencing:
  ways:
    alpha: [{agent: fence_x, with: {ip: 10.0.0.1, password: 12345678, snmp-priv-passwd: password-three, community_file: /etc/community, key: password-seven}}]
alerts:
  - webhook: https://hooks.example/services/T000/path-four?key=query-five
  - mail: smtp://user:password-six@mail.example
  - webhook: {url: "https://hooks.example/services/T001/path-eight", header_file: /etc/hook}
key: /etc/holdfast/cluster.key
`), func(path string) ([]byte, error) {
		if path == "/etc/chap" {
			return []byte("password-two\n"), nil
		}
		if path == "/etc/hook" {
			return []byte("Authorization: Bearer bearer-nine\n"), nil
		}
		return nil, errors.New("not there")
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"password-one", "password-two", "password-three", "12345678", "path-four", "query-five", "password-six", "password-seven", "bearer-nine"} {
		if !s.Holds([]byte("x "+secret+" y")) && !s.Holds([]byte("services/T000/"+secret)) && !s.Holds([]byte("key="+secret)) {
			t.Errorf("%s is not known", secret)
		}
	}
	for _, open := range []string{"admin-user", "orders-table", "heartbeat:mysql", "hooks.example", "cluster.key", "10.0.0.1"} {
		if s.Holds([]byte(open)) {
			t.Errorf("%s is taken for a secret", open)
		}
	}
	if !s.Holds([]byte("POST /services/T001/path-eight")) {
		t.Error("the path of a webhook with headers is not known")
	}
	if err := s.Learn([]byte("a: [b\nc: {"), nil); err == nil {
		t.Error("what is no YAML was understood")
	}
}

// TestFormed: what tells by its form that it is a secret goes, though nobody has named
// it, and what only looks like it stays.
func TestFormed(t *testing.T) {
	t.Parallel()
	var s scrub.Scrubber
	for text, want := range map[string]string{
		"sudo: COMMAND=/usr/bin/holdfast join hf1-Zm9vYmFyYmF6cXV4eHl6enk --name beta":             "sudo: COMMAND=/usr/bin/holdfast join hf1-" + scrub.Removed + " --name beta",
		"-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nEEIB\n-----END EC PRIVATE KEY-----\nx":            "-----BEGIN EC PRIVATE KEY-----" + scrub.Removed + "\nx",
		"postgres://app:s3cret@10.0.0.5/db":                                                        "postgres://app:" + scrub.Removed + "10.0.0.5/db",
		"> Authorization: Bearer abc.def":                                                          "> Authorization: Bearer " + scrub.Removed,
		"fence_x --password=s3cret --ip=10.0.0.1 exited":                                           "fence_x --password=" + scrub.Removed + " --ip=10.0.0.1 exited",
		"PGPASSWORD=hunter22 psql":                                                                 "PGPASSWORD=" + scrub.Removed + " psql",
		"holdfast join TOKEN; password_file: /etc/x; token hf1-short; redfish://holdfast@10.9.0.1": "holdfast join TOKEN; password_file: /etc/x; token hf1-short; redfish://holdfast@10.9.0.1",
		"-----BEGIN CERTIFICATE-----":                                                              "-----BEGIN CERTIFICATE-----",
	} {
		if got := string(s.Clean([]byte(text))); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
