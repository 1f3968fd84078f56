package resources_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/groups"
	"github.com/holdfast-ha/holdfast/resources/secret"
)

// TestSecretsStayOnTheirNode plants a secret and looks for it wherever others could
// read it: in what the runner says, and in the command lines of all processes.
func TestSecretsStayOnTheirNode(t *testing.T) {
	const planted = "planted-8f31c0"
	folder := t.TempDir()
	keeper, err := groups.NewProcessGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	emptyAfterwards(t, keeper)
	var told []resources.Step
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := resources.NewRunner(resources.RunnerConfig{
		Groups: keeper, AgentCommand: []string{self, "agent"}, Secrets: secret.Places{folder}, OnStep: func(s resources.Step) { told = append(told, s) },
	})
	seen := filepath.Join(t.TempDir(), "seen")
	svc := resources.Service{Name: "orders", Stack: []resources.Member{{ID: "exec", Kind: "exec", Spec: []byte(fmt.Sprintf(
		`{"env":{"TOKEN":"secret:token"},"start":["/bin/sh","-c","cat /proc/[0-9]*/cmdline > %s; echo login with $TOKEN failed >&2; exit 1"]}`, seen))}}}

	res := r.Fit(context.Background(), svc, nil)
	if res.Outcome != resources.Failed || !strings.Contains(res.Text, "secret token is missing on this node: write it into "+folder+"/token") {
		t.Errorf("without the file: %v: %s", res.Outcome, res.Text)
	}
	if res = r.Start(context.Background(), svc, 1, resources.StartOptions{}); res.Outcome != resources.Failed || res.Severity != resources.Hard {
		t.Errorf("a start without it: %v (%v): %s; want a failure that another node may not have", res.Outcome, res.Severity, res.Text)
	}
	if err := os.WriteFile(filepath.Join(folder, "token"), []byte(planted+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res = r.Fit(context.Background(), svc, nil); res.Outcome != resources.OK {
		t.Errorf("with the file: %v: %s", res.Outcome, res.Text)
	}
	res = r.Start(context.Background(), svc, 2, resources.StartOptions{})
	if res.Outcome != resources.Failed || !strings.Contains(res.Text, "login with (secret:token) failed") {
		t.Errorf("the program did not get it, or what it said is lost: %v: %s", res.Outcome, res.Text)
	}
	lines, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(lines, []byte(planted)) || !bytes.Contains(lines, []byte("TOKEN")) {
		t.Errorf("command lines: %q", lines)
	}
	if text := fmt.Sprintf("%+v %+v", res, told); strings.Contains(text, planted) {
		t.Errorf("it is told: %s", text)
	}
}
