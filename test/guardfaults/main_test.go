package guardfaults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Environment entries: by the first this program enters the root file system of a
// machine and becomes another program there; the second is where the programs are.
const (
	enterEnv    = "HOLDFAST_GUARDFAULTS_ENTER" // "device folder"
	programsEnv = "HOLDFAST_GUARDFAULTS_PROGRAMS"
)

func TestMain(m *testing.M) {
	if os.Getenv(enterEnv) != "" {
		fmt.Fprintln(os.Stderr, "guardfaults:", enter(os.Args[1:]))
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hfg-programs-")
	if err == nil {
		defer os.RemoveAll(dir)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir+"/", "github.com/holdfast-ha/holdfast/cmd/...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		var out []byte
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("build the programs: %w\n%s", err, out)
		}
	}
	if err = errors.Join(err, os.Setenv(programsEnv, dir)); err != nil {
		fmt.Fprintln(os.Stderr, "guardfaults:", err)
		return 1
	}
	return m.Run()
}

// enter mounts the root file system of a machine, in a mount namespace that ends
// with the process, and executes a program in it. What is not part of the root file
// system of a machine stays: processes, devices, and the folder of temporary files
// with the sockets and the quorum disk.
func enter(args []string) error {
	device, dir, _ := strings.Cut(os.Getenv(enterEnv), " ")
	runtime.LockOSThread()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(device, dir, "ext4", unix.MS_NOATIME, "errors=continue"); err != nil {
		return fmt.Errorf("mount the root file system %s: %w", device, err)
	}
	for _, kept := range []string{"/proc", "/dev", "/sys", os.TempDir()} {
		if err := unix.Mount(kept, filepath.Join(dir, kept), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", kept, err)
		}
	}
	if err := errors.Join(unix.Chroot(dir), unix.Chdir("/"), os.Unsetenv(enterEnv)); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", args[0], unix.Exec(args[0], args, os.Environ()))
}
