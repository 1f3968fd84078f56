package outcomes

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/drivers"
	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/config"
)

// base is what an example of node.yaml leaves out.
const base = `name: alpha
id: 1
cluster: {name: hospital, id: 6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11}
quorum_disks: [{path: /dev/disk/by-id/wwn-0x600, uuid: 6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11}]
key: /etc/holdfast/cluster.key
links: ["10.0.0.11:7320", "10.1.0.11:7320"]
`

// TestManual: every example of the chapters on fencing is one that the program
// accepts, and that the agents themselves know.
func TestManual(t *testing.T) {
	agents := map[string]bool{}
	for _, page := range []string{"fencing.md", "vsphere.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", "manual", page))
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```yaml\n(# (?:cluster|node)\\.yaml)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		if all := strings.Count(string(text), "```yaml"); all != len(blocks) || all == 0 {
			t.Errorf("%s: %d examples, of which %d say which file they are", page, all, len(blocks))
		}
		for _, b := range blocks {
			if b[1] == "# node.yaml" {
				if _, err := config.ParseNode(page, []byte(base+b[2])); err != nil {
					t.Errorf("%v\n%s", err, b[2])
				}
				continue
			}
			conf, err := config.ParseCluster(page, []byte(b[2]), config.KnownNodes([]string{"alpha", "beta"}))
			if err != nil {
				t.Errorf("%v\n%s", err, b[2])
				continue
			}
			for _, f := range conf.Fencing {
				for _, w := range f.Ways {
					if w.Kind == cluster.WayAgent {
						agents[w.Agent] = true
						knows(t, w)
					}
				}
			}
		}
	}
	for _, name := range []string{"fence_apc_snmp", "fence_vmware_rest", "fence_virsh", "fence_aws", "fence_azure_arm"} {
		if !agents[name] {
			t.Errorf("the manual has no example of %s", name)
		}
	}
}

// knows compares an example with the metadata of the agent itself.
func knows(t *testing.T, w cluster.Way) {
	t.Helper()
	if _, err := os.Stat("/usr/sbin/" + w.Agent); errors.Is(err, fs.ErrNotExist) {
		t.Logf("%s is not installed: its example is compared with no metadata; apt-get install fence-agents", w.Agent)
		return
	}
	err := drivers.CheckAgent(t.Context(), bmc.Reference{Way: bmc.WayAgent, Agent: w.Agent, Options: w.With})
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "metadata: exited"):
		t.Logf("%s cannot tell its metadata here, so that its example is compared with none: %v", w.Agent, err)
	default:
		t.Error(err)
	}
}

// TestPause: 40 s is what the chapter on vSphere says it is: the least that a pause
// of 10 s allows with two watchdogs that were measured.
func TestPause(t *testing.T) {
	in := timing.Input{PauseBound: 10 * time.Second, SecondHolder: true, Devices: []timing.Device{
		{Name: "watchdog0", Timeout: 5 * time.Second, TMax: 6 * time.Second, At: 5 * time.Second, Class: timing.Qualified}, {Name: "softdog", Software: true},
	}}
	for within, want := range map[time.Duration]bool{40 * time.Second: true, 39 * time.Second: false} {
		in.FailoverWithin = within
		if _, err := timing.Derive(in); (err == nil) != want {
			t.Errorf("%v: %v", within, err)
		}
	}
}
