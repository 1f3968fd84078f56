// Package programs builds the programs that a stage consists of, for the tests that
// put one up.
package programs

import (
	"fmt"
	"os"
	"os/exec"
)

// Build makes holdfast, holdfastd, holdfast-guard and demo in a folder, which then
// everybody may enter.
func Build(dir string) error {
	const module = "github.com/holdfast-ha/holdfast/"
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", module+"cmd/...", module+"test/demo")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return os.Chmod(dir, 0o755)
}
