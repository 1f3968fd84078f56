package gather_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/doctor"
)

// TestMultipathTakesIt: the section that --fix writes is one that multipath(8) reads
// without a word, and that has the effect in its configuration.
func TestMultipathTakesIt(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a mount namespace is needed, to give multipath another /etc: run the test as root")
	}
	if _, err := exec.LookPath("multipath"); err != nil {
		t.Skip("multipath(8) is missing: test/setup.sh installs it (package multipath-tools)")
	}
	m := newMachine(t)
	m.queue, m.port, m.units["polling"] = "on", "off", "2"
	m.put("sys/class/fc_remote_ports/rport-1:0-2/fast_io_fail_tmo", "off")
	_, found := find(doctor.Examine(m.facts()), "queueing")
	if len(found) != 1 {
		t.Fatalf("%+v", found)
	}
	file := filepath.Join(t.TempDir(), "holdfast.conf")
	if err := os.WriteFile(file, []byte(found[0].Fix.Files[0].Text), 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `mount -t tmpfs none /etc && mkdir -p /etc/multipath/conf.d && cat >/etc/multipath/conf.d/holdfast.conf && exec multipath -t`
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", script)
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	for _, bad := range []string{"invalid", "unknown", "holdfast.conf"} {
		if strings.Contains(errs.String(), bad) {
			t.Errorf("multipath says %q", errs.String())
		}
	}
	plain := strings.Join(strings.Fields(strings.ReplaceAll(out.String(), `"`, "")), " ")
	for _, want := range []string{"polling_interval 1 ", "max_polling_interval 1 ", "vendor ^ACME product ^Array 9", "fast_io_fail_tmo 2", "wwid 3600a", "no_path_retry fail"} {
		if !strings.Contains(plain, want) {
			t.Errorf("multipath -t does not show %q", want)
		}
	}
}
