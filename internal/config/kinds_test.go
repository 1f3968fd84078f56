package config_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/config/members"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/resources/container"
	"github.com/holdfast-ha/holdfast/resources/exec"
	"github.com/holdfast-ha/holdfast/resources/export"
	"github.com/holdfast-ha/holdfast/resources/filesystem"
	"github.com/holdfast-ha/holdfast/resources/ip"
	"github.com/holdfast-ha/holdfast/resources/iscsi"
	"github.com/holdfast-ha/holdfast/resources/kinds"
	"github.com/holdfast-ha/holdfast/resources/lvm"
	"github.com/holdfast-ha/holdfast/resources/multipath"
	"github.com/holdfast-ha/holdfast/resources/ocf"
	"github.com/holdfast-ha/holdfast/resources/systemd"
	"github.com/holdfast-ha/holdfast/resources/vm"
)

// TestKinds holds the keys that the configuration accepts against what the agent
// of each kind reads: a key that one of the two does not know is a setting that
// has no effect, or a service that never starts.
func TestKinds(t *testing.T) {
	var s schema
	if err := json.Unmarshal(config.ClusterSchema(), &s); err != nil {
		t.Fatal(err)
	}
	var service schema
	if err := json.Unmarshal(s.Properties["services"].Additional, &service); err != nil {
		t.Fatal(err)
	}
	member := service.Properties["stack"].Items
	specs := map[string]reflect.Type{
		"exec": reflect.TypeFor[exec.Spec](), "filesystem": reflect.TypeFor[filesystem.Spec](), "ip": reflect.TypeFor[ip.Spec](),
		"ocf": reflect.TypeFor[ocf.Spec](), "systemd": reflect.TypeFor[systemd.Spec](),
		"container": reflect.TypeFor[container.Spec](),
		"vm":        reflect.TypeFor[vm.Spec](),
		"export":    reflect.TypeFor[export.Spec](),
		"lvm":       reflect.TypeFor[lvm.Spec](),
		"iscsi":     reflect.TypeFor[iscsi.Spec](),
		"multipath": reflect.TypeFor[multipath.Spec](),
	}
	besides := map[string]bool{"guard": true, "with": true} // for the cluster; beside the kind
	for kind := range kinds.All() {
		if specs[kind] == nil || member.Properties[kind] == nil {
			t.Errorf("kind %s: known to the agents, but not here or in the configuration", kind)
		}
	}
	for kind, spec := range specs {
		read, keys := map[string]bool{}, member.Properties[kind].object()
		for i := range spec.NumField() {
			name, _, _ := strings.Cut(spec.Field(i).Tag.Get("json"), ",")
			read[name] = true
			if keys[name] == nil && !besides[name] {
				t.Errorf("%s: the agent reads %q, the configuration refuses it", kind, name)
			}
		}
		for name := range keys {
			if !read[name] && !besides[name] {
				t.Errorf("%s: the configuration accepts %q, the agent does not read it", kind, name)
			}
		}
	}
}

// TestReloads: a plan says of a kind that it may take over new settings only if its
// agent can be asked to.
func TestReloads(t *testing.T) {
	for name, agent := range kinds.All() {
		k, _ := members.Find(name)
		if _, can := agent.(resources.Reloader); can != k.Reloads {
			t.Errorf("%s: its agent can be asked: %v, and the configuration says %v", name, can, k.Reloads)
		}
	}
}

// object is the keys of an object, also of one that has a short form.
func (s *schema) object() map[string]*schema {
	for _, a := range s.AnyOf {
		if len(a.Properties) > 0 {
			return a.Properties
		}
	}
	return s.Properties
}
