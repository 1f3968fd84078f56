package config_test

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/config"
)

// TestGuard: a guard is for all storage of its service, and is none of the agent's.
func TestGuard(t *testing.T) {
	text := `
cluster: {name: hospital, failover_within: 10s}
services:
  orders:
    stack:
      - filesystem: {device: /dev/disk/by-id/wwn-0x1, at: /srv/orders, guard: reservation}
      - filesystem: {device: /dev/disk/by-id/wwn-0x2, at: /srv/logs}
      - ip: {address: 192.0.2.10/24}
  web:
    stack:
      - filesystem: {device: /dev/disk/by-id/wwn-0x3, at: /srv/web}
`
	c, err := config.ParseCluster("cluster.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	orders, _ := c.Service("orders")
	web, _ := c.Service("web")
	if !orders.Guarded() || !orders.Stack[1].Guarded || orders.Stack[2].Guarded || web.Guarded() {
		t.Errorf("%+v", c.Services)
	}
	if strings.Contains(string(orders.Stack[0].Spec), "guard") {
		t.Errorf("the agent would be told: %s", orders.Stack[0].Spec)
	}
	if _, err := config.ParseCluster("cluster.yaml", []byte(strings.Replace(text, "guard: reservation", "guard: fence", 1))); err == nil {
		t.Error("a guard that does not exist")
	}
}

// A guard is refused where nobody could tell the LUNs.
func TestGuardsOfOtherStorage(t *testing.T) {
	for stack, words := range map[string]string{
		"[lvm: {group: vg, devices: [/dev/disk/by-id/wwn-0x1], guard: reservation}]":                                                 "",
		"[lvm: vg, filesystem: {device: /dev/vg/data, at: /srv/a, guard: reservation}]":                                              "write lvm: {group: ..., devices: [...]}",
		"[iscsi: {target: iqn.2026-11.example:a, portal: 10.0.0.1, guard: reservation}]":                                             "write iscsi: {target: ..., devices: [...]}",
		"[iscsi: {target: iqn.2026-11.example:a, portal: 10.0.0.1, devices: [/dev/disk/by-id/wwn-0x1], guard: reservation}]":         "",
		"[iscsi: {target: iqn.2026-11.example:a, portal: 10.0.0.1}, filesystem: {device: /dev/sdb, at: /srv/a, guard: reservation}]": "",
	} {
		_, err := config.ParseCluster("f", []byte("cluster: {name: c, failover_within: 10s}\nservices:\n  a:\n    stack: "+stack+"\n"))
		if (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want %q", stack, err, words)
		}
	}
}
