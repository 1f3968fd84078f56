package ledger

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newBook is a service on a file that holds text already.
func newBook(t *testing.T, text string) (*book, *httptest.Server) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := openBook(path, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(b.handler())
	t.Cleanup(func() {
		server.Close()
		b.file.Close()
	})
	return b, server
}

func newClient(url string, out io.Writer) *client {
	return &client{name: "c", shelf: &web{url: url, http: &http.Client{Timeout: 10 * time.Second}}, out: json.NewEncoder(out)}
}

// TestRoundTrip: what was acknowledged is read back, also behind a line that a
// power loss cut off.
func TestRoundTrip(t *testing.T) {
	_, server := newBook(t, "c 7\nhalf a li")
	var out strings.Builder
	c := newClient(server.URL, &out)
	for range 3 {
		if err := c.write(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.finish(); err != nil {
		t.Fatalf("%v; it printed\n%s", err, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var last Record
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if v := last.Verdict; !v.Good() || v.Acknowledged != 3 || v.Read != 3 || v.Node != "alpha" {
		t.Errorf("verdict %+v", v)
	}
}

// TestMissing: a write that was acknowledged and is gone is found, and so is one
// that is there twice.
func TestMissing(t *testing.T) {
	b, server := newBook(t, "")
	c := newClient(server.URL, io.Discard)
	for range 3 {
		if err := c.write(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(b.path, []byte("c 1\nc 3\nc 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	c.out = json.NewEncoder(&out)
	if err := c.finish(); err == nil {
		t.Error("a lost write was not noticed")
	}
	if want := `"missing":[2],"doubled":[3]`; !strings.Contains(out.String(), want) {
		t.Errorf("verdict %s, want %s in it", out.String(), want)
	}
}

// TestFailedWrite: a write that the disk refuses is not acknowledged.
func TestFailedWrite(t *testing.T) {
	b, server := newBook(t, "")
	b.file.Close()
	var out strings.Builder
	c := newClient(server.URL, &out)
	if err := c.write(); err != nil {
		t.Fatal(err)
	}
	if len(c.acks) != 0 || !strings.Contains(out.String(), `"error":"500`) {
		t.Errorf("acknowledged %v: %s", c.acks, out.String())
	}
}

// nothing is a standard input that takes everything.
type nothing struct{ io.Writer }

func (nothing) Close() error { return nil }

// TestGaps: the longest time without an answer is found, with the failures in it.
func TestGaps(t *testing.T) {
	records := `{"at_ns":1000,"began_ns":900,"seq":1,"node":"alpha"}
{"at_ns":3000,"began_ns":2900,"seq":2,"error":"refused"}
{"at_ns":9000,"began_ns":8900,"seq":3,"node":"beta"}
{"at_ns":9500,"began_ns":9400,"seq":4,"node":"beta"}
`
	c := Follow(nothing{io.Discard}, io.NopCloser(strings.NewReader(records)))
	if _, err := c.Verify(10 * time.Second); err == nil {
		t.Error("records without a verdict gave one")
	}
	if g := c.LongestGap(2000); g != (Gap{From: 1000, To: 9000, Failed: 1}) {
		t.Errorf("longest gap %+v", g)
	}
	if g := c.LongestGap(9100); g.Length() != 500 {
		t.Errorf("longest gap after the outage %+v", g)
	}
	if r, ok := c.First(1500, nil); !ok || r.Seq != 3 {
		t.Errorf("first answer %+v, %v: a failure is none", r, ok)
	}
	if _, ok := c.First(0, func(r Record) bool { return r.Node == "gamma" }); ok {
		t.Error("gamma has not answered")
	}
}
