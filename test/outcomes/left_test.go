package outcomes

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
)

// TestProgramThatNobodyKillsEndsWithItsTest: an agent is killed with its process group
// while its ssh goes into a session of its own. The test that made the ssh ends all
// the same, and so does the ssh.
func TestProgramThatNobodyKillsEndsWithItsTest(t *testing.T) {
	left := make(chan error, 1)
	t.Run("hangs", func(t *testing.T) {
		m := bmctest.NewMachine(t, bmctest.Hanging)
		p := bmctest.NewAgent(t, m)
		cmd := exec.Command(p.Path, "status")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { left <- cmd.Wait() }()
		end := time.After(patience)
		for len(p.Arguments()) == 0 {
			select {
			case <-end:
				t.Fatal("the program never asked its controller")
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	select {
	case <-left:
	case <-time.After(patience):
		t.Error("the program is still there")
	}
}
