// Package kinds is the table of everything that can stand in a service's stack.
// It exists so that there is one place to add a kind, and no registry that
// imports fill behind everybody's back.
package kinds

import (
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/container"
	"github.com/holdfast-ha/holdfast/resources/exec"
	"github.com/holdfast-ha/holdfast/resources/export"
	"github.com/holdfast-ha/holdfast/resources/filesystem"
	"github.com/holdfast-ha/holdfast/resources/ip"
	"github.com/holdfast-ha/holdfast/resources/iscsi"
	"github.com/holdfast-ha/holdfast/resources/lvm"
	"github.com/holdfast-ha/holdfast/resources/multipath"
	"github.com/holdfast-ha/holdfast/resources/ocf"
	"github.com/holdfast-ha/holdfast/resources/systemd"
	"github.com/holdfast-ha/holdfast/resources/vm"
)

// All returns the kinds that this build knows.
func All() resources.Kinds {
	return resources.Kinds{
		"exec":       exec.Agent{},
		"filesystem": filesystem.Agent{},
		"ip":         ip.Agent{},
		"multipath":  multipath.Agent{},
		"ocf":        ocf.Agent{},
		"systemd":    systemd.Agent{},
		"iscsi":      iscsi.Agent{},
		"lvm":        lvm.Agent{},
		"export":     export.Agent{},
		"vm":         vm.Agent{},
		"container":  container.Agent{},
	}
}
