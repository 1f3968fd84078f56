// Package programs builds the programs that a stage consists of, for the tests that
// put one up.
package programs

import (
	"fmt"
	"os"
	"os/exec"
)

const module = "github.com/holdfast-ha/holdfast/"

// Build makes holdfast, holdfastd, holdfast-guard and demo in a folder, which then
// everybody may enter.
func Build(dir string) error {
	if err := build(dir+"/", module+"cmd/...", module+"test/demo"); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// Versioned makes the program of one package below cmd, which says that it has that
// version.
func Versioned(file, name, version string) error {
	return build(file, "-ldflags", "-X "+module+"internal/build.version="+version, module+"cmd/"+name)
}

func build(out string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", out}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, said)
	}
	return nil
}
