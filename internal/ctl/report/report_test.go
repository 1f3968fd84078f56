package report

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/scrub"
)

// The secrets that the test plants.
const (
	clusterKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	bmcSecret  = "bmc-p4ss&word"
	chapSecret = "chap-s3cret"
	oldSecret  = "the-password-of-last-year"
	newSecret  = "fence-Passw0rd"
	peerSecret = "bmc-of-beta-s3cret"
	appSecret  = "app-t0ken-of-a-service"
	nextKey    = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
	envSecret  = "pg-h0t-water"
	hookPath   = "services/T000/B000/s3cretPath"
	hookHeader = "s3cret-bearer"
	mailSecret = "mail-s3cret"
	trapSecret = "trap-c0mmunity"
	joinToken  = "hf1-Zm9vYmFyYmF6cXV4eHl6enk"
	tlsKey     = "MHcCAQEEIBs3cretKeyOfTheMetricsAddress"
)

func secrets() []string {
	return []string{clusterKey, bmcSecret, chapSecret, oldSecret, newSecret, peerSecret, appSecret, nextKey, envSecret, hookPath, hookHeader, mailSecret, trapSecret, joinToken, tlsKey}
}

// planted is a node's directory with secrets in every place where one may stand.
func planted(t *testing.T) (dir, node string) {
	t.Helper()
	dir = t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("etc/node.yaml", `name: alpha
id: 1
cluster: {name: hospital, id: 6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11}
quorum_disks: [{path: /dev/disk/by-id/x, uuid: 6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c12}]
links: ["10.0.0.11:7320", "10.1.0.11:7320"]
key: `+dir+`/etc/cluster.key
bmc: {url: "redfish://holdfast@10.9.0.11", password_file: `+dir+`/etc/bmc.secret}
directories: {state: `+dir+`/state, run: `+dir+`/run}
`)
	put("etc/guard.conf", "node 1\n")
	put("etc/cluster.key", clusterKey+"\n")
	put("etc/bmc.secret", bmcSecret+"\n")
	put("etc/chap", chapSecret+"\n")
	put("etc/bmc/beta.secret", peerSecret+"\n")
	put("etc/secrets/app-token", appSecret+"\n")
	put("etc/cluster.key.new", nextKey+"\n")
	put("etc/hook.secret-header", "Authorization: Bearer "+hookHeader+"\n")
	put("etc/mailpass", mailSecret+"\n")
	put("etc/trap", trapSecret+"\n")
	put("state/versions/0001-20251101T000000Z.yaml", "fencing: {ways: {beta: [{agent: fence_x, with: {password: "+oldSecret+"}}]}}\n")
	put("state/versions/0002-20261101T000000Z.yaml", cluster(dir))
	put("state/events.jsonl", `{"id":1,"kind":"way","text":"fence_x --password=`+newSecret+` failed"}`+"\n")
	put("state/decisions/00000001.jsonl.zst", packed(t, `{"config":"`+base64.StdEncoding.EncodeToString([]byte(cluster(dir)))+`"}`))
	put("state/decisions/00000002.jsonl.zst", packed(t, `{"step":1}`))
	return dir, filepath.Join(dir, "etc/node.yaml")
}

func cluster(dir string) string {
	return "services: {orders: {stack: [{iscsi: {target: iqn.x, password_file: " + dir + "/etc/chap}}, {exec: {run: [app], env: {PGPASSWORD: " + envSecret + ", TOKEN: 'secret:app-token'}}}]}}\n" +
		"alerts: [{webhook: {url: 'https://hooks.example.org/" + hookPath + "', header_file: " + dir + "/etc/hook.secret-header}}, {mail: {to: a@b.c, user: ha, password_file: " + dir + "/etc/mailpass}}, {trap: {to: '10.0.0.9:162', community_file: " + dir + "/etc/trap}}]\n" +
		"fencing: {ways: {beta: [{agent: fence_x, with: {ip: 10.0.0.1, password: " + newSecret + "}}]}}\n"
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// unpack gives the files of an archive by their names.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = string(text)
	}
}

// made runs the command with programs that print secrets wherever they can.
func made(t *testing.T, node string) (map[string]string, string) {
	t.Helper()
	var out bytes.Buffer
	to := filepath.Join(t.TempDir(), "r.tar.gz")
	r := &command{Shell: &shell.Shell{Out: &out, Err: &out, Config: node}, now: func() time.Time { return time.Unix(1e9, 0) }}
	r.self = func(_ context.Context, argv ...string) ([]byte, error) {
		switch argv[0] {
		case "status":
			return []byte(`{"version":1,"nodes":[{"name":"alpha"},{"name":"beta"}]}`), nil
		case "config":
			return []byte(cluster(filepath.Dir(filepath.Dir(node)))), nil
		case "disk":
			return []byte("state 7, configuration " + newSecret), nil
		}
		return []byte(strings.Join(argv, " ") + " says " + oldSecret), nil
	}
	r.tool = func(_ context.Context, argv ...string) ([]byte, error) {
		switch argv[0] {
		case "journalctl":
			return []byte("holdfastd: curl -u admin:" + bmcSecret + " http://x?k=bmc-p4ss%26word " + base64.StdEncoding.EncodeToString([]byte("admin:"+bmcSecret)) + " chap " + chapSecret + " " + strings.ToUpper(clusterKey) +
				" " + strings.Join(secrets()[:13], " and ") + "\nPOST https://hooks.example.org/" + hookPath + "\nsudo: holdfast join " + joinToken +
				"\n-----BEGIN EC PRIVATE KEY-----\n" + tlsKey + "\n-----END EC PRIVATE KEY-----\n"), nil
		case "multipath":
			return nil, errors.New("not installed, says " + chapSecret)
		}
		return []byte(argv[0]), nil
	}
	c := r.command()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs([]string{"--output", to})
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return unpack(t, to), out.String()
}

// TestSecrets: whatever prints them, none of the planted secrets leaves the machine in
// any form, and the rest does.
func TestSecrets(t *testing.T) {
	t.Parallel()
	_, node := planted(t)
	files, said := made(t, node)
	var s scrub.Scrubber
	s.Add(secrets()...)
	for name, text := range files {
		if s.Holds([]byte(text)) || strings.Contains(strings.ToLower(text), clusterKey) {
			t.Errorf("%s holds a secret: %s", name, text)
		}
	}
	if s.Holds([]byte(said)) {
		t.Errorf("it says a secret: %s", said)
	}
	for name, words := range map[string]string{
		"status.json": "beta", "config/cluster.yaml": "agent: fence_x, with: {ip: 10.0.0.1, password: " + scrub.Removed, "config/node.yaml": "redfish://holdfast@10.9.0.11",
		"config/versions/0001-20251101T000000Z.yaml": "agent: fence_x", "disks/1.txt": "state 7", "nodes/beta/events.jsonl": "events --json --by beta", "events.jsonl": "fence_x --password=" + scrub.Removed,
		"system/journal.txt": "curl -u admin:" + scrub.Removed, "decisions/00000002.jsonl.zst": "", "MANIFEST.json": "decisions/00000001.jsonl.zst: it holds a configuration with a secret", "doctor.txt": "doctor says",
	} {
		if text, has := files[name]; !has || !strings.Contains(text, words) {
			t.Errorf("%s: %t, no %q: %s", name, has, words, text)
		}
	}
	if _, has := files["decisions/00000001.jsonl.zst"]; has {
		t.Error("a decision log with a password in it is in the archive")
	}
	if !strings.Contains(said, "without system/multipath.txt") || !strings.Contains(said, "look through it") {
		t.Errorf("it says %s", said)
	}
}

// TestShortSecret: what cannot be looked for keeps its files at home.
func TestShortSecret(t *testing.T) {
	t.Parallel()
	dir, node := planted(t)
	path := filepath.Join(dir, "state/versions/0003-20261102T000000Z.yaml")
	if err := os.WriteFile(path, []byte("fencing: {ways: {beta: [{agent: fence_x, with: {password: abc}}]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, said := made(t, node)
	for name := range files {
		if strings.HasPrefix(name, "config/") || strings.HasPrefix(name, "disks/") || strings.HasPrefix(name, "decisions/") {
			t.Errorf("%s is in the archive", name)
		}
	}
	if !strings.Contains(said, "fewer than four letters") {
		t.Errorf("it says %s", said)
	}
}

// TestUnreadable: without knowing what is secret, no report is made.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir, node := planted(t)
	if err := os.WriteFile(filepath.Join(dir, "state/versions/0003.yaml"), []byte("a: [b\nc: {"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "r.tar.gz")
	r := &command{Shell: &shell.Shell{Out: io.Discard, Err: io.Discard, Config: node}, now: time.Now}
	c := r.command()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs([]string{"--output", to})
	if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "no report is made") {
		t.Error(err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an archive was begun: %v", err)
	}
}

// TestProgram: an exit code is no failure, a program that is not there is one, and
// both outputs are kept.
func TestProgram(t *testing.T) {
	t.Parallel()
	text, err := program(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3")
	if err != nil || string(text) != "out\n\n[standard error]\nerr\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := program(t.Context(), "no-such-program-anywhere"); err == nil {
		t.Error("what is not installed has printed something")
	}
	var l limited
	for range 3 {
		if n, err := l.Write(bytes.Repeat([]byte("x"), mostText/2)); n != mostText/2 || err != nil {
			t.Fatal(n, err)
		}
	}
	if l.Len() != mostText {
		t.Errorf("%d bytes are kept", l.Len())
	}
}
