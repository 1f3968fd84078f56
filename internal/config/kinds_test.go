package config_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/resources/exec"
	"github.com/holdfast-ha/holdfast/resources/filesystem"
	"github.com/holdfast-ha/holdfast/resources/ip"
	"github.com/holdfast-ha/holdfast/resources/kinds"
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
	}
	for kind := range kinds.All() {
		if specs[kind] == nil || member.Properties[kind] == nil {
			t.Errorf("kind %s: known to the agents, but not here or in the configuration", kind)
		}
	}
	for kind, spec := range specs {
		read := map[string]bool{}
		for i := range spec.NumField() {
			name, _, _ := strings.Cut(spec.Field(i).Tag.Get("json"), ",")
			read[name] = true
			if member.Properties[kind].Properties[name] == nil {
				t.Errorf("%s: the agent reads %q, the configuration refuses it", kind, name)
			}
		}
		for name := range member.Properties[kind].Properties {
			if !read[name] && name != "guard" { // which the cluster reads, and keeps from the agent
				t.Errorf("%s: the configuration accepts %q, the agent does not read it", kind, name)
			}
		}
	}
}
