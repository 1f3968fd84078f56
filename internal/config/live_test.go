package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// A guest that is handed over as it runs stands first in its service, and its stop has the
// time for that.
func TestLive(t *testing.T) {
	for stack, words := range map[string]string{
		`[vm: {domain: shop, migrate: {to: "qemu+ssh://{node}/system"}}]`:                                                           "",
		`[vm: {domain: shop, migrate: {to: "qemu+tls://{node}/system", via: "tcp://{node}-san:49152", throttle: true, tls: true}}]`: "",
		`[lvm: vg, vm: {domain: shop, migrate: {to: "qemu+ssh://{node}/system"}}]`:                                                  "f:4:",
		`[{lvm: vg}, {vm: {domain: shop, migrate: {to: "qemu+ssh://{node}/system"}}}]`:                                              "it is not the first member of its service, and what stands below it cannot be on two nodes",
		`[vm: {domain: shop, migrate: {to: "qemu+ssh://beta/system"}}]`:                                                             "such as qemu+ssh://{node}/system",
		`[vm: {domain: shop, migrate: {via: "tcp://{node}"}}]`:                                                                      "to",
		`[vm: {domain: shop, migrate: {to: "qemu+ssh://{node}/system", postcopy: true}}]`:                                           "postcopy",
	} {
		_, err := config.ParseCluster("f", []byte("cluster: {name: c, failover_within: 10s}\nservices:\n  a:\n    stack: "+stack+"\n"))
		if (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want %q", stack, err, words)
		}
	}
	for stack, want := range map[string]time.Duration{
		`[vm: {domain: shop}]`:                                                                 2 * time.Minute,
		`[vm: {domain: shop, migrate: {to: "x:{node}"}}]`:                                      4 * time.Minute,
		`[vm: {domain: shop, migrate: {to: "x:{node}", within: 10m}}]`:                         12 * time.Minute,
		`[{vm: {domain: shop, migrate: {to: "x:{node}", within: 10m}}, stop: {timeout: 15m}}]`: 15 * time.Minute,
	} {
		c, err := config.ParseCluster("f", []byte("cluster: {name: c, failover_within: 10s}\nservices:\n  a:\n    stack: "+stack+"\n"))
		if err != nil {
			t.Errorf("%s: %v", stack, err)
			continue
		}
		if m := c.Services[0].Stack[0]; m.Stop != want || m.Live != strings.Contains(stack, "migrate") {
			t.Errorf("%s: a stop may take %v, live %v; want %v", stack, m.Stop, m.Live, want)
		}
	}
}
