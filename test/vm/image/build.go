package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// module is the module whose programs are built.
const thisModule = "github.com/holdfast-ha/holdfast/"

// Program builds a static program of this module into a folder and returns its file. The folder of the package is below
// the module's root, as cmd/holdfast. More flags are for the go command, as -overlay, which puts broken files in the place
// of others.
func Program(ctx context.Context, dir, pkg string, flags ...string) (string, error) {
	out := filepath.Join(dir, filepath.Base(pkg))
	args := append([]string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", out}, flags...)
	return out, goTool(ctx, append(args, thisModule+pkg)...)
}

// TestProgram builds the tests of a package of this module as a static program.
func TestProgram(ctx context.Context, dir, pkg string) (string, error) {
	out := filepath.Join(dir, filepath.Base(pkg)+".test")
	return out, goTool(ctx, "test", "-c", "-ldflags=-s -w", "-o", out, thisModule+pkg)
}

func goTool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", args[0], err, out)
	}
	return nil
}
