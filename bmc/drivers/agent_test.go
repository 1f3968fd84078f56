package drivers_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/bmc/drivers"
)

// shell writes a fence agent as a shell script.
func shell(t *testing.T, script string) bmc.Reference {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fence_shell")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return parse(t, "agent:"+path+"?plug=n1")
}

// TestAgentStatus: exit status and words have to agree.
func TestAgentStatus(t *testing.T) {
	for script, want := range map[string]bmc.State{
		"echo 'Status: ON'; exit 0":      bmc.On,
		"exit 0":                         bmc.On,
		"echo 'Status: OFF'; exit 2":     bmc.Off,
		"echo off; exit 2":               bmc.Off,
		"exit 2":                         bmc.Unknown,
		"echo 'Status: OFF' >&2; exit 2": bmc.Unknown,
		"echo 'Status: OFF'; echo 'Status: ON'; exit 2": bmc.Unknown,
		"echo 'Status: OFF'; exit 0":                    bmc.Unknown,
		"echo 'Status: OFF'; exit 1":                    bmc.Unknown,
		"echo 'turning off'; exit 2":                    bmc.Unknown,
		"echo 'Status: OFF'; kill -9 $$":                bmc.Unknown,
		"if then":                                       bmc.Unknown,
	} {
		got := open(t, shell(t, script), bmc.Options{}).State(t.Context())
		if got.State != want || (got.Text == "") != (want != bmc.Unknown) {
			t.Errorf("%s: %+v", script, got)
		}
	}
}

// TestAgentIsKilledAsAWhole: an agent that hangs in a program that it started
// leaves nothing behind that could still switch something later.
func TestAgentIsKilledAsAWhole(t *testing.T) {
	note := filepath.Join(t.TempDir(), "pid")
	s := open(t, shell(t, "sleep 600 & echo $! >"+note+".tmp; mv "+note+".tmp "+note+"; wait"), bmc.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- s.Off(ctx) }()
	var pid int
	poll(t, "the agent has started its child", func() bool {
		text, err := os.ReadFile(note)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	cancel()
	if err := <-done; err == nil {
		t.Error("an agent that was killed reported success")
	}
	poll(t, "the child has ended", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		// Nobody may be there to reap it: a zombie has ended too.
		return err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ")
	})
}

func poll(t *testing.T, what string, ready func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ready() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestCheckAgent(t *testing.T) {
	a := bmctest.NewAgent(t, bmctest.NewMachine(t, bmctest.Honest))
	if err := drivers.CheckAgent(t.Context(), a.Reference(t, "ssl-insecure=1")); err != nil {
		t.Error(err)
	}
	if err := drivers.CheckAgent(t.Context(), a.Reference(t, "plugg=1")); err == nil || !strings.Contains(err.Error(), `"plugg"`) {
		t.Errorf("a slip in an option: %v", err)
	}
	head, tail := "cat <<'END'\n<resource-agent><parameters><parameter name='plug'/></parameters><actions>", "</actions></resource-agent>\nEND"
	for script, word := range map[string]string{
		head + "<action name='on' automatic='1'/><action name='off'/><action name='status'/>" + tail: "admits machines",
		head + "<action name='off'/>" + tail: "no action status",
		"echo nonsense":                      "metadata",
		"exit 1":                             "exited with 1",
	} {
		if err := drivers.CheckAgent(t.Context(), shell(t, script)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestAgentRefused(t *testing.T) {
	r := shell(t, "exit 0")
	if _, err := drivers.Open(r, bmc.Options{Expect: []bmc.GUID{{1, 2}}}); err == nil || !strings.Contains(err.Error(), "no GUID") {
		t.Errorf("a GUID is expected of an agent: %v", err)
	}
	if _, err := drivers.Open(r, bmc.Options{Password: bmc.NewSecret("a\nb")}); err == nil {
		t.Error("a password of two lines")
	}
	if err := os.Chmod(r.Agent, 0o772); err != nil {
		t.Fatal(err)
	}
	if _, err := drivers.Open(r, bmc.Options{}); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("an agent that others can change: %v", err)
	}
	if err := os.Chmod(r.Agent, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := drivers.Open(r, bmc.Options{}); err == nil || !strings.Contains(err.Error(), "no program") {
		t.Errorf("an agent that is no program: %v", err)
	}
}

// TestAgentIsToldWhatFollows: the plug is the node's name where the agent knows
// plugs and the reference names none, nodename is always told, and an agent does
// not wait for longer than whoever asks it.
func TestAgentIsToldWhatFollows(t *testing.T) {
	const metadata = `<resource-agent><parameters><parameter name="plug" required="1"/><parameter name="power_timeout"><content default="60"/></parameter>` +
		`<parameter name="ip"/></parameters><actions><action name="off"/><action name="status"/></actions></resource-agent>`
	for options, want := range map[string][]string{
		"":                 {"nodename=alpha", "plug=alpha", "power_timeout=20"},
		"plug=7":           {"nodename=alpha", "plug=7", "power_timeout=20"},
		"port=7":           nil, // not known to the agent: it would be ignored
		"power-timeout=90": {"nodename=alpha", "plug=alpha", "power-timeout=90"},
	} {
		told := filepath.Join(t.TempDir(), "told")
		script := "input=$(cat); case $input in *action=metadata*) echo '" + metadata + "'; exit 0;; esac; echo \"$input\" >>" + told + "; echo 'Status: ON'"
		path := filepath.Join(t.TempDir(), "fence_shell")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		got := open(t, parse(t, "agent:"+path+"?"+options), bmc.Options{Node: "alpha"}).State(t.Context())
		text, _ := os.ReadFile(told)
		if want == nil {
			if got.State != bmc.Unknown || !strings.Contains(got.Text, "does not know") || len(text) != 0 {
				t.Errorf("%q: %+v, told %q", options, got, text)
			}
			continue
		}
		lines := strings.Fields(string(text))
		slices.Sort(lines)
		slices.Sort(want)
		if !slices.Equal(lines, append([]string{"action=status"}, want...)) || got.State != bmc.On {
			t.Errorf("%q: told %q, want %q; %+v", options, lines, want, got)
		}
	}
}

// TestPlantedSecrets: secrets are planted in every place that an agent can be given
// one, and the agent shouts them all; neither its arguments nor its environment nor
// any text that comes out again holds one.
func TestPlantedSecrets(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	path := filepath.Join(t.TempDir(), "fence_shout")
	script := "#!/bin/sh\n{ echo \"arguments: $*\"; env; } >>" + seen + "\ninput=$(cat)\necho \"$input\"\necho \"$input\" >&2\nexit 1\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	secrets := []string{"pl4nted-password", "pl4nted-community", "pl4nted-key"}
	s := open(t, parse(t, "agent:"+path+"?plug=7&ip=10.0.0.1"), bmc.Options{
		Password: bmc.NewSecret(secrets[0]), Secrets: map[string]bmc.Secret{"community": bmc.NewSecret(secrets[1]), "secret_key": bmc.NewSecret(secrets[2])},
	})
	r := s.State(t.Context())
	err := s.Off(t.Context())
	if err == nil || r.State != bmc.Unknown || !strings.Contains(r.Text, "[password]") {
		t.Fatalf("%+v, %v: the agent was not heard", r, err)
	}
	text, readErr := os.ReadFile(seen)
	if readErr != nil || !strings.Contains(string(text), "arguments:") {
		t.Fatalf("%q, %v: the agent was not started", text, readErr)
	}
	for _, secret := range secrets {
		for place, text := range map[string]string{"a reading": r.Text, "an error": err.Error(), "its name": s.String(), "its arguments and environment": string(text)} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s: %s", place, secret, text)
			}
		}
	}
}
