package config_test

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// Switches that feed a node together are one way; one outlet of two is never a way
// of its own.
func TestWaysOfSeveralSwitches(t *testing.T) {
	const one = "{agent: fence_apc_snmp, with: {ip: 10.0.0.1, plug: 3}}"
	const two = "{agent: fence_apc_snmp, with: {ip: 10.0.0.2, plug: 3}}"
	for ways, want := range map[string]string{
		"[{all: [" + one + ", " + two + "]}, disk]":        "fence_apc_snmp+fence_apc_snmp",
		"[{all: [bmc, " + one + "]}]":                      "bmc+fence_apc_snmp",
		"[bmc, " + one + ", disk]":                         "bmc",
		"[" + one + ", " + two + "]":                       "write both as one way",
		"[{all: [" + one + ", " + two + "]}, " + one + "]": "write both as one way",
		"[" + one + ", {all: [" + one + ", " + two + "]}]": "write both as one way",
		"[{all: [" + one + ", " + one + "]}]":              "stands there twice",
		"[{all: [bmc, bmc]}]":                              "is written twice",
		"[{all: [" + one + "]}]":                           "one switch is no group",
		"[{all: [" + one + ", disk]}]":                     "disk",
		"[{all: [bmc, " + one + "], agent: fence_virsh}]":  "all stands beside an agent",
		"[{}]":                                      "",
		"[{with: {ip: 10.0.0.1}}]":                  "names no way",
		"[{all: [bmc, {with: {ip: 10.0.0.1}}]}]":    "names no way",
		"[{all: [bmc, {all: [bmc, " + one + "]}]}]": "all",
		"[{all: [bmc, {agent: fence_x, with: {password: hunter22}}]}]": "holds a secret",
		"[{all: [bmc, {agent: fence_scsi}]}]":                          "fence_scsi",
	} {
		c, err := config.ParseCluster("f", []byte("cluster: {name: c, failover_within: 10s}\nfencing:\n  ways:\n    a: "+ways+"\n"))
		switch {
		case err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter22")):
			t.Errorf("%s: %v; want %q", ways, err, want)
		case err == nil && (want == "" || c.Fencing[0].Ways[0].Name() != want || !c.Fencing[0].Ways[0].CutsPower()):
			t.Errorf("%s: %+v; want %q", ways, c.Fencing, want)
		}
	}
}
