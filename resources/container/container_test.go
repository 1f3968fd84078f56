package container_test

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

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/agenttest"
	"github.com/holdfast-ha/holdfast/resources/container"
	"github.com/holdfast-ha/holdfast/resources/groups"
)

// TestMain is the agent, and the program in the container.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "app" {
		fmt.Println("the application has begun")
		<-time.After(time.Hour)
	}
	agenttest.Main(m, resources.Kinds{"container": container.Agent{}})
}

// engine is podman with a store of its own and an image that holds the test's
// program and nothing else.
func engine(t *testing.T) (env []string) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs containers: go test without -short does")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: containers need it here; run this test as root")
	}
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("podman is not installed: apt-get install podman crun, or run test/setup.sh")
	}
	dir, err := os.MkdirTemp("", "hf-pod-")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("containers.conf", "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n"+
		"[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n")
	write("storage.conf", fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", dir+"/root", dir+"/run"))
	env = []string{"CONTAINERS_CONF=" + dir + "/containers.conf", "CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf"}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	t.Cleanup(func() {
		_ = exec.Command("podman", "rm", "--all", "--force").Run()
		_ = exec.Command("podman", "rmi", "--all", "--force").Run()
		_ = os.RemoveAll(dir)
	})
	app := filepath.Join(dir, "app")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", app, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // its image has no libraries
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", build, err, out)
	}
	image := exec.Command("/bin/sh", "-c", `tar -C "$1" -c app | podman import - localhost/suite:1`, "sh", dir)
	if out, err := image.CombinedOutput(); err != nil {
		t.Fatalf("podman makes no image: %v: %s", err, out)
	}
	try := exec.Command("podman", "run", "--rm", "--network=none", "localhost/suite:1", "/app", "-test.run=^$")
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("podman runs no container on this kernel: %v: %s", err, out)
	}
	return env
}

func spec() map[string]any {
	return map[string]any{
		"image": "localhost/suite:1", "engine": "podman", "options": []string{"--network=none"}, "command": []string{"/app", "app"}, "grace": "0s",
	}
}

func ask(t *testing.T, v func(context.Context, resources.Request) resources.Report, spec map[string]any, outcome resources.Outcome, words string) {
	t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := v(ctx, resources.Request{Service: "suite", Member: "m", Spec: raw, Timeout: 30 * time.Second})
	if r.Outcome != outcome || !strings.Contains(r.Text, words) {
		t.Errorf("%v: %s; want %v with %q", r.Outcome, r.Text, outcome, words)
	}
}

func TestPodman(t *testing.T) {
	env := engine(t)
	t.Run("lives", func(t *testing.T) {
		agenttest.Lives(t, agenttest.Case{Kind: "container", Spec: spec(), Env: env, Brief: true, Lose: func(t *testing.T) {
			if out, err := exec.Command("podman", "kill", "holdfast-suite-m").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}})
	})
	a := container.Agent{}
	t.Run("a check inside", func(t *testing.T) {
		s := spec()
		s["check"] = []string{"/app", "-test.run=^$"}
		ask(t, a.Start, s, resources.OK, "")
		ask(t, a.Check, s, resources.OK, "satisfied")
		s["check"] = []string{"/app", "-no-such-flag"}
		ask(t, a.Check, s, resources.Failed, "exits with 2")
		ask(t, a.Stop, s, resources.OK, "removed")
	})
	t.Run("a container that ends at once", func(t *testing.T) {
		s := spec()
		s["command"] = []string{"/app", "-test.run=^$"}
		ask(t, a.Start, s, resources.Failed, "exit status 0")
		ask(t, a.Stop, s, resources.OK, "")
	})
	t.Run("somebody else's", func(t *testing.T) {
		s := spec()
		s["name"] = "theirs"
		if out, err := exec.Command("podman", "run", "--detach", "--name=theirs", "--network=none", "localhost/suite:1", "/app", "app").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		ask(t, a.Start, s, resources.Failed, "not made")
		ask(t, a.Probe, s, resources.NotRunning, "of ours")
		ask(t, a.Stop, s, resources.OK, "of ours")
		if out, err := exec.Command("podman", "container", "inspect", "--format={{.State.Status}}", "theirs").Output(); err != nil || string(out) != "running\n" {
			t.Errorf("theirs: %s, %v", out, err)
		}
	})
	t.Run("its end is told", func(t *testing.T) { endIsTold(t, env) })
	t.Run("a missing image", func(t *testing.T) {
		s := spec()
		s["image"] = "localhost/nowhere:1"
		ask(t, a.Fit, s, resources.Failed, "podman pull localhost/nowhere:1")
	})
}

// endIsTold has a runner watch the container that it started, and then one that found it
// running: its end is told at once, although its process is the engine's.
func endIsTold(t *testing.T, env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(spec())
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	svc := resources.Service{Name: "suite", Stack: []resources.Member{{ID: "m", Kind: "container", Spec: raw, Start: time.Minute, Stop: time.Minute, Check: time.Minute}}}
	for _, found := range []bool{false, true} {
		r := resources.NewRunner(resources.RunnerConfig{Groups: keeper, AgentCommand: []string{self, "agent"}, Env: env})
		ctx, cancel := context.WithCancel(context.Background())
		told, ended := make(chan string, 16), make(chan error, 1)
		go func() {
			ended <- r.Watch(ctx, func(service, member, what string) { told <- service + "/" + member + ": " + what })
		}()
		if res := r.Start(ctx, svc, 1, resources.StartOptions{}); res.Outcome != resources.OK {
			t.Fatalf("%+v", res)
		}
		if found { // a daemon that comes back
			cancel()
			<-ended
			r = resources.NewRunner(resources.RunnerConfig{Groups: keeper, AgentCommand: []string{self, "agent"}, Env: env})
			ctx, cancel = context.WithCancel(context.Background())
			go func() {
				ended <- r.Watch(ctx, func(service, member, what string) { told <- service + "/" + member + ": " + what })
			}()
			if res := r.Check(ctx, svc, 1); res.Outcome != resources.OK {
				t.Fatalf("%+v", res)
			}
		}
		pid, err := exec.Command("podman", "container", "inspect", "--format={{.State.Pid}}", "holdfast-suite-m").Output()
		if err != nil {
			t.Fatal(err)
		}
		want := "suite/m: its process " + strings.TrimSpace(string(pid)) + " ("
		heldOf(t, strings.TrimSpace(string(pid)))
		if out, err := exec.Command("podman", "kill", "holdfast-suite-m").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		select {
		case got := <-told:
			if !strings.HasPrefix(got, want) {
				t.Errorf("found running %v: told %q, want %q", found, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("found running %v: the end of the container was not told", found)
		}
		if res := r.Stop(ctx, svc, 1, resources.StopOptions{}); !res.Stopped {
			t.Errorf("%+v", res)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// heldOf waits until this process holds a pidfd of another: the kernel names it in
// fdinfo.
func heldOf(t *testing.T, pid string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		all, _ := filepath.Glob("/proc/self/fdinfo/*")
		for _, path := range all {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "\nPid:\t"+pid+"\n") {
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %s of the container is not watched", pid)
		}
	}
}

// docker words things differently; this is how (docker 26).
const docker = `#!/bin/sh
case "$1 $2" in
"container inspect") [ -e "$DIR/up" ] && cat "$DIR/up" || { echo '[]'; echo "Error response from daemon: No such container: $3" >&2; exit 1; };;
"image inspect") exit 0;;
run*) case "$*" in *--restart=no*) ;; *) exit 9;; esac
  echo '[{"State":{"Status":"running","Running":true,"Pid":0,"ExitCode":0,"Health":{"Status":"healthy"}},"Config":{"Labels":{"holdfast":"s/m"}}}]' >"$DIR/up";;
"rm --force"|stop*) rm -f "$DIR/up";;
"exec "*) exit 0;;
esac
`

func TestDocker(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DIR", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	s := map[string]any{"image": "shop:7", "engine": "docker"}
	agenttest.Run(t, container.Agent{}, s)
	a := container.Agent{}
	unhealthy := `[{"State":{"Status":"running","Health":{"Status":"unhealthy"}},"Config":{"Labels":{"holdfast":"s/m"}}}]`
	if err := os.WriteFile(filepath.Join(dir, "up"), []byte(unhealthy), 0o644); err != nil {
		t.Fatal(err)
	}
	ask(t, a.Check, s, resources.Failed, "unhealthy")
	// An engine that does not answer is not one without containers.
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ask(t, a.Probe, s, resources.Unknown, "Cannot connect")
	ask(t, a.Stop, s, resources.Unknown, "Cannot connect")
	ask(t, a.Check, s, resources.Unknown, "Cannot connect")
}

// A run that was killed half-way leaves its name in podman's store, and no
// container (podman 4.3).
func TestANameThatAKilledRunLeftBehind(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(docker, "run*) ", `run*) [ ! -e "$DIR/left" ] || { echo 'Error: name "x" is in use: container already exists' >&2; exit 125; }; `, 1)
	text = strings.Replace(text, `"rm --force"|stop*) `, `"rm --force"|stop*) rm -f "$DIR/left"; `, 1)
	for name, text := range map[string]string{"podman": text, "left": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DIR", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	a := container.Agent{}
	ask(t, a.Start, map[string]any{"image": "shop:7", "name": "mine"}, resources.Failed, "podman rm --force mine")
	ask(t, a.Start, map[string]any{"image": "shop:7"}, resources.OK, "runs")
	ask(t, a.Stop, map[string]any{"image": "shop:7"}, resources.OK, "")
}

func TestBadSpecifications(t *testing.T) {
	for _, s := range []map[string]any{
		{},
		{"image": "x", "engine": "rkt"},
		{"image": "x", "options": []string{"--restart=always"}},
		{"image": "x", "options": []string{"-v", "/a:/b"}},
		{"image": "x", "name": "a b"},
		{"image": "--privileged"},
	} {
		ask(t, container.Agent{}.Start, s, resources.Failed, "")
	}
}
