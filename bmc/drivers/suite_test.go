package drivers_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/bmc/drivers"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	bmctest.Main()
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, r bmc.Reference, o bmc.Options) bmc.Switch {
	t.Helper()
	s, err := drivers.Open(r, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRedfish(t *testing.T) {
	t.Parallel()
	bmctest.TestSwitch(t, bmctest.Way{Identifies: true, Open: func(t *testing.T, m *bmctest.Machine, o bmc.Options) bmc.Switch {
		return open(t, bmctest.NewRedfish(t, m).Reference(t, ""), o)
	}})
}

func TestRedfishSession(t *testing.T) {
	t.Parallel()
	bmctest.TestSwitch(t, bmctest.Way{Identifies: true, Open: func(t *testing.T, m *bmctest.Machine, o bmc.Options) bmc.Switch {
		return open(t, bmctest.NewRedfish(t, m).Reference(t, "", "auth=session"), o)
	}})
}

func TestIPMIGo(t *testing.T) {
	t.Parallel()
	for _, cipher := range []string{"17", "3"} {
		t.Run("cipher"+cipher, func(t *testing.T) {
			t.Parallel()
			bmctest.TestSwitch(t, bmctest.Way{Identifies: true, Cards: true, Open: func(t *testing.T, m *bmctest.Machine, o bmc.Options) bmc.Switch {
				return open(t, bmctest.NewIPMI(t, m).Reference(t, "driver=go", "cipher="+cipher), o)
			}})
		})
	}
}

// TestIPMITool runs bmclib's driver against a program that plays ipmitool, so
// that every fault can be had without the program and without a controller.
func TestIPMITool(t *testing.T) {
	bmctest.TestSwitch(t, bmctest.Way{Identifies: true, Cards: true, Open: func(t *testing.T, m *bmctest.Machine, o bmc.Options) bmc.Switch {
		p := bmctest.NewIPMITool(t, m)
		t.Setenv("PATH", filepath.Dir(p.Path)+":"+os.Getenv("PATH"))
		return open(t, parse(t, "ipmi://"+bmctest.User+"@[fe80::1%25eth0]?cipher=17"), o)
	}})
}

func TestAgent(t *testing.T) {
	t.Parallel()
	bmctest.TestSwitch(t, bmctest.Way{Open: func(t *testing.T, m *bmctest.Machine, o bmc.Options) bmc.Switch {
		return open(t, bmctest.NewAgent(t, m).Reference(t), o)
	}})
}

func parse(t *testing.T, text string) bmc.Reference {
	t.Helper()
	r, err := bmc.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
