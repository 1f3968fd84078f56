package examples

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// TestBalancer puts HAProxy before two web servers and takes the power from its node;
// then one of the web servers ends.
func TestBalancer(t *testing.T) {
	t.Parallel() // what it waits for is time, mostly
	wanted(t, "/usr/sbin/haproxy", "/etc/haproxy", "/usr/bin/curl")
	ctx := limit(t, 3*time.Minute)
	r := raise(ctx, t, "balancer", stage.Options{}, "/etc/haproxy")
	end := map[string]func(){}
	for i, at := range []string{"192.0.2.31", "192.0.2.32"} {
		name := fmt.Sprintf("web%d", i+1)
		end[name] = r.serve(t, name, at)
	}
	for _, n := range r.Nodes {
		if out, err := n.Shell("cat >/etc/haproxy/haproxy.cfg <<'END'\n" + r.example.block(t, "haproxy", 0) + "END\n"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := r.Apply(ctx, r.text); err != nil {
		t.Fatal(err)
	}
	first := r.owner(ctx, t, 0)
	r.both(t)
	r.powerOff(ctx, t, first)
	r.both(t)
	end["web1"]()
	r.says(ctx, t, "http://192.0.2.12/", "web2")
	for range 5 {
		if out, err := r.ask("http://192.0.2.12/"); err != nil || out != "web2" {
			t.Errorf("with one web server left: %q, %v", out, err)
		}
	}
}

// serve is a web server outside of the nodes that says its name, and returns its end.
func (r *rig) serve(t *testing.T, name, ip string) func() {
	t.Helper()
	if out, err := r.Shell("ip address add " + ip + "/24 dev lan"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l, err := r.ListenAt(ip + ":8080")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }() // ends with the server
	end := func() {
		_ = server.Close()
		<-ended
	}
	t.Cleanup(func() { _ = server.Close() })
	return end
}

// both fails unless both web servers answer through the balancer.
func (r *rig) both(t *testing.T) {
	t.Helper()
	var said strings.Builder
	for range 4 {
		out, err := r.ask("http://192.0.2.12/")
		if err != nil {
			t.Errorf("the balancer does not answer: %v", err)
		}
		said.WriteString(out + " ")
	}
	if !strings.Contains(said.String(), "web1") || !strings.Contains(said.String(), "web2") {
		t.Errorf("the balancer has answered %q, want both servers", said.String())
	}
}
