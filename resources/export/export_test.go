package export_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/export"
)

func TestMain(m *testing.M) { agenttest.Main(m, resources.Kinds{"export": export.Agent{}}) }

// server is the real exportfs, over a stand-in for the kernel's server: here it is
// only asked whether it has threads and told to let go.
func server(t *testing.T) (path, nfsd string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: exportfs works as root; run this test as root")
	}
	if _, err := exec.LookPath("exportfs"); err != nil {
		t.Skip("exportfs is not installed: apt-get install nfs-kernel-server, or run test/setup.sh")
	}
	path, nfsd = t.TempDir(), t.TempDir()
	write(t, nfsd, "threads", "8\n")
	write(t, nfsd, "unlock_filesystem", "")
	t.Setenv("HOLDFAST_NFSD", nfsd)
	t.Cleanup(func() {
		for _, c := range []string{"127.0.0.1", "192.0.2.0/24"} {
			_ = exec.Command("exportfs", "-u", c+":"+path).Run()
		}
	})
	return path, nfsd
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, v func(context.Context, resources.Request) resources.Report, spec map[string]any, outcome resources.Outcome, words string) {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := v(ctx, resources.Request{Service: "suite", Member: "m", Spec: raw, Timeout: 20 * time.Second})
	if r.Outcome != outcome || !strings.Contains(r.Text, words) {
		t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
}

func TestExport(t *testing.T) {
	path, nfsd := server(t)
	spec := map[string]any{"path": path, "clients": []string{"127.0.0.1", "192.0.2.0/24"}, "options": "ro,no_subtree_check"}
	t.Run("suite", func(t *testing.T) { agenttest.Run(t, export.Agent{}, spec) })
	t.Run("lives", func(t *testing.T) {
		agenttest.Lives(t, agenttest.Case{Kind: "export", Spec: spec, Env: []string{"HOLDFAST_NFSD=" + nfsd}, Lose: func(t *testing.T) {
			for _, c := range []string{"127.0.0.1", "192.0.2.0/24"} {
				if out, err := exec.Command("exportfs", "-u", c+":"+path).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
		}})
	})
	if told, err := os.ReadFile(filepath.Join(nfsd, "unlock_filesystem")); err != nil || string(told) != path+"\n" {
		t.Errorf("the server was told to let go of %q, %v", told, err)
	}
	a := export.Agent{}
	ask(t, a.Start, spec, resources.OK, "192.0.2.0/24")
	out, err := exec.Command("exportfs", "-s").Output()
	if err != nil || strings.Count(string(out), path+" ") != 2 || !strings.Contains(string(out), "ro,") || !strings.Contains(string(out), "fsid=") {
		t.Errorf("exported as %s, %v", out, err)
	}
	if err := exec.Command("exportfs", "-u", "127.0.0.1:"+path).Run(); err != nil {
		t.Fatal(err)
	}
	ask(t, a.Check, spec, resources.Failed, "not exported to 127.0.0.1")
	write(t, nfsd, "threads", "0\n")
	ask(t, a.Fit, spec, resources.Failed, "systemctl start nfs-server")
	// A client that is not configured any more loses the export as well.
	spec["clients"] = []string{"127.0.0.1"}
	ask(t, a.Stop, spec, resources.OK, "not exported")
	ask(t, a.Probe, spec, resources.NotRunning, "")
}

// A client that has a file open is ended with the export; one that has none there is
// not. The kernel's files of a client are played: its folder goes when it is told to.
func TestClientsWithOpenFilesAreEnded(t *testing.T) {
	path, nfsd := server(t)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	client := func(name string, minor uint32) string {
		dir := filepath.Join(nfsd, "clients", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "states", fmt.Sprintf("- 0x01: { type: open, access: rw, deny: --, superblock: \"%02x:%02x:12\", filename: \"/log\", owner: \"open id:\" }\n", unix.Major(st.Dev), minor))
		if err := unix.Mkfifo(filepath.Join(dir, "ctl"), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	holder, other := client("7", unix.Minor(st.Dev)), client("8", unix.Minor(st.Dev)+1)
	told := make(chan string, 1)
	go func() { // ends with the agent's word, or with the test's process
		text, _ := os.ReadFile(filepath.Join(holder, "ctl"))
		_ = os.RemoveAll(holder)
		told <- string(text)
	}()
	spec := map[string]any{"path": path, "clients": []string{"127.0.0.1"}}
	a := export.Agent{}
	ask(t, a.Start, spec, resources.OK, "")
	ask(t, a.Stop, spec, resources.OK, "not exported")
	if got := <-told; got != "expire\n" {
		t.Errorf("the kernel was told %q of the client", got)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a client without files there: %v", err)
	}
}

func TestTheReasonOfAFailure(t *testing.T) {
	path, _ := server(t)
	a := export.Agent{}
	ask(t, a.Start, map[string]any{"path": path + "/none", "clients": []string{"127.0.0.1"}}, resources.Failed, "is its file system above it")
	ask(t, a.Start, map[string]any{"path": path, "clients": []string{"127.0.0.1"}, "options": "no_such_option"}, resources.Failed, "no_such_option")
	ask(t, a.Stop, map[string]any{"path": path, "clients": []string{"127.0.0.1"}}, resources.OK, "")
}

func TestBadSpecifications(t *testing.T) {
	for _, s := range []map[string]any{
		{},
		{"path": "/", "clients": []string{"*"}},
		{"path": "/srv"},
		{"path": "/srv/a b", "clients": []string{"*"}},
		{"path": "/srv", "clients": []string{"-a"}},
		{"path": "/srv", "clients": []string{"*"}, "options": "rw,fsid=1"},
	} {
		ask(t, export.Agent{}.Start, s, resources.Failed, "")
	}
}
