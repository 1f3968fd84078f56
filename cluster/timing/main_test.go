package timing_test

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	flag.Bool("write", false, "write the generated parts of docs/TIMING.md")
	flag.Parse()
	os.Exit(m.Run())
}
