package ocf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/ocf"
	"github.com/holdfast-ha/holdfast/storage/mount/mounttest"
)

// installed skips unless the agent and the programs that it drives are here.
func installed(t *testing.T, agent string, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: resource agents work as root; run this test as root")
	}
	if _, err := os.Stat("/usr/lib/ocf/resource.d/heartbeat/" + agent); err != nil {
		t.Skipf("no OCF agents here (%v): apt-get install resource-agents, or run test/setup.sh", err)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed: run test/setup.sh as root", p)
		}
	}
}

func lives(t *testing.T, c agenttest.Case, agent string, with map[string]string) {
	t.Helper()
	c.Kind, c.Spec = "ocf", map[string]any{"agent": "heartbeat:" + agent, "with": with}
	c.Env = append(c.Env, "HOLDFAST_RUN="+t.TempDir())
	agenttest.Lives(t, c)
}

func TestDummy(t *testing.T) {
	installed(t, "Dummy")
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	lives(t, agenttest.Case{Lose: func(t *testing.T) {
		if err := os.Remove(state); err != nil {
			t.Fatal(err)
		}
	}}, "Dummy", map[string]string{"state": state})
}

// The metadata of every installed agent can be read: a hundred authors' idea of
// XML.
func TestMetadataOfAllAgents(t *testing.T) {
	installed(t, "Dummy")
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: it runs every agent once")
	}
	files, err := filepath.Glob("/usr/lib/ocf/resource.d/heartbeat/[A-Za-z]*")
	if err != nil {
		t.Fatal(err)
	}
	read, timed := 0, 0
	for _, f := range files {
		cmd := exec.Command(f, "meta-data")
		cmd.Env = append(os.Environ(), "OCF_ROOT=/usr/lib/ocf", "OCF_RESOURCE_INSTANCE=x")
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Run(); err != nil {
			t.Logf("%s cannot run here: %v", f, err) // one that needs an interpreter or a tool that is not installed
			continue
		}
		m, err := ocf.ParseMetadata(out.String())
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		read++
		if l := m.Usual(); l.Start > 0 && l.Stop > 0 && l.Check > 0 {
			timed++
		}
		for _, p := range m.Parameters {
			if p.Name == "" {
				t.Errorf("%s: a parameter without a name", f)
			}
		}
	}
	if read < 100 || timed < read-10 {
		t.Errorf("%d of %d agents were read, %d with timeouts; want nearly all", read, len(files), timed)
	}
}

func TestIPaddr2(t *testing.T) {
	installed(t, "IPaddr2", "ip")
	t.Parallel()
	ns := fmt.Sprintf("hf-ocf-%d", os.Getpid())
	mounttest.Run(t, "ip", "netns", "add", ns)
	t.Cleanup(func() { mounttest.Run(t, "ip", "netns", "del", ns) })
	in := func(args ...string) { mounttest.Run(t, "ip", append([]string{"-n", ns}, args...)...) }
	in("link", "set", "lo", "up")
	in("link", "add", "svc0", "type", "veth", "peer", "name", "far0")
	in("link", "set", "svc0", "up")
	in("link", "set", "far0", "up")
	lives(t, agenttest.Case{
		Prefix: []string{"ip", "netns", "exec", ns},
		Lose:   func(*testing.T) { in("addr", "del", "192.0.2.10/24", "dev", "svc0") },
	}, "IPaddr2", map[string]string{"ip": "192.0.2.10", "cidr_netmask": "24", "nic": "svc0", "arp_count": "1", "arp_interval": "1"})
}

func TestFilesystem(t *testing.T) {
	installed(t, "Filesystem", "fuser")
	t.Parallel()
	dev, at := mounttest.Device(t, "ext4"), t.TempDir()
	lives(t, agenttest.Case{Lose: func(t *testing.T) { mounttest.Run(t, "umount", at) }},
		"Filesystem", map[string]string{"device": dev, "directory": at, "fstype": "ext4"})
}

// freePort is a port that nothing listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// killAll ends the process of a pid file and all of its group.
func killAll(pidFile string) func(t *testing.T) {
	return func(t *testing.T) {
		text, err := os.ReadFile(pidFile)
		if err != nil {
			t.Fatal(err)
		}
		pid, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		children, _ := exec.Command("pgrep", "-P", pid).Output()
		for _, p := range append(strings.Fields(string(children)), pid) {
			_ = exec.Command("kill", "-9", p).Run()
		}
	}
}

func TestNginx(t *testing.T) {
	installed(t, "nginx", "nginx", "curl")
	if testing.Short() {
		t.Skip("-short: it starts a server many times")
	}
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	conf := write(t, filepath.Join(dir, "nginx.conf"), `
pid `+dir+`/nginx.pid; error_log `+dir+`/error.log; worker_processes 1;
events { worker_connections 16; }
http {
  access_log off; client_body_temp_path `+dir+`/b; proxy_temp_path `+dir+`/p; fastcgi_temp_path `+dir+`/f; uwsgi_temp_path `+dir+`/u; scgi_temp_path `+dir+`/s;
  server { listen 127.0.0.1:`+port+`; location /nginx_status { stub_status on; } }
}
`)
	lives(t, agenttest.Case{Brief: true, Lose: killAll(filepath.Join(dir, "nginx.pid"))},
		"nginx", map[string]string{"configfile": conf, "httpd": "/usr/sbin/nginx", "status10url": "http://127.0.0.1:" + port + "/nginx_status"})
}

func TestApache(t *testing.T) {
	installed(t, "apache", "apache2", "curl")
	if testing.Short() {
		t.Skip("-short: it starts a server many times")
	}
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	conf := write(t, filepath.Join(dir, "apache2.conf"), `
ServerRoot "`+dir+`"
ServerName localhost
PidFile "`+dir+`/apache2.pid"
ErrorLog "`+dir+`/error.log"
Mutex file:`+dir+` default
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule status_module /usr/lib/apache2/modules/mod_status.so
Listen 127.0.0.1:`+port+`
User www-data
Group www-data
StartServers 1
<Location /server-status>
SetHandler server-status
</Location>
`)
	lives(t, agenttest.Case{Brief: true, Lose: killAll(filepath.Join(dir, "apache2.pid"))},
		"apache", map[string]string{"configfile": conf, "httpd": "/usr/sbin/apache2", "statusurl": "http://127.0.0.1:" + port + "/server-status"})
}

// postgres makes a cluster of PostgreSQL that the agent can run.
func postgres(t *testing.T) map[string]string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Skip("PostgreSQL is not installed: apt-get install postgresql, or run test/setup.sh")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("/tmp", "hf-pg-") // short: a socket's path has to fit into 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mounttest.Run(t, "chown", "postgres", dir)
	mounttest.Run(t, "runuser", "-u", "postgres", "--", bin+"/initdb", "-D", dir+"/data", "-A", "trust", "--no-sync")
	return map[string]string{
		"pgctl": bin + "/pg_ctl", "psql": bin + "/psql", "pgdata": dir + "/data", "pgport": freePort(t), "socketdir": dir,
		"logfile": dir + "/log", "start_opt": "-c fsync=off -k " + dir,
	}
}

func TestPostgreSQL(t *testing.T) {
	installed(t, "pgsql", "runuser")
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: it makes a database")
	}
	with := postgres(t)
	lives(t, agenttest.Case{Brief: true, Lose: killAll(filepath.Join(with["pgdata"], "postmaster.pid"))}, "pgsql", with)
}

// What a real agent says when it cannot be started reaches the administrator.
func TestTheReasonOfARealAgent(t *testing.T) {
	installed(t, "nginx")
	t.Setenv("HOLDFAST_RUN", t.TempDir())
	raw, err := json.Marshal(map[string]any{"agent": "heartbeat:nginx", "with": map[string]string{"configfile": "/does/not/exist"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req := resources.Request{Service: "suite", Member: "m", Spec: raw, Timeout: 20 * time.Second}
	if r := (ocf.Agent{}).Start(ctx, req); r.Outcome != resources.Failed || !strings.Contains(r.Text, "/does/not/exist") {
		t.Errorf("%v: %s", r.Outcome, r.Text)
	}
	if r := (ocf.Agent{}).Stop(ctx, req); r.Outcome != resources.OK {
		t.Errorf("stop: %v: %s", r.Outcome, r.Text)
	}
	if r := (ocf.Agent{}).Probe(ctx, req); r.Outcome != resources.NotRunning {
		t.Errorf("probe: %v: %s", r.Outcome, r.Text)
	}
}
