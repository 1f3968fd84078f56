package unlimited_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/test/peer/unlimited"
)

// TestMain is also the program: it becomes itself, and tries.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "become" {
		fmt.Println(unlimited.Main([]string{"/proc/self/exe", "try"}))
		os.Exit(1)
	}
	if len(os.Args) == 2 && os.Args[1] == "try" {
		try()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// try sets and reads a limit, and says what came of it. The one that it wants is above
// the one that it has, whatever that is.
func try() {
	var before, after unix.Rlimit
	all := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, nil, &before)
	fmt.Println("read:", err)
	fmt.Println("raised:", unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &all, nil))
	err = unix.Prlimit(0, unix.RLIMIT_MEMLOCK, nil, &after)
	fmt.Println("as before:", before == after, err)
}

func TestRaising(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: only root may filter calls without giving up new privileges; run as root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, "become").CombinedOutput()
	want := "read: <nil>\nraised: <nil>\nas before: true <nil>\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: %s\nwant %s", err, strings.TrimSpace(string(out)), want)
	}
}
