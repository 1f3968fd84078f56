package config

import (
	"slices"

	"github.com/holdfast-ha/holdfast/internal/config/form"
	"github.com/holdfast-ha/holdfast/resources/secret"
)

// secrets refuses references to secrets where they would not be resolved, or would be
// seen by others: in a command line, for one. What is committed already has to stay
// readable.
func (c *clusterReader) secrets(v *form.Value, where string, resolved bool) {
	if v == nil || !c.checked {
		return
	}
	if name, is := secret.Reference(v.Text); is {
		switch wrong := secret.Name(name); {
		case !resolved:
			c.Add(v.Node, where+": a secret cannot stand here, where it would become part of a command or of a file", "secrets stand below env: of an exec and below with: of an ocf; an iscsi member has password_file:, and so have the agents of fencing")
		case wrong != "":
			c.Add(v.Node, where+": "+name+" "+wrong, "name a file in the folder secrets beside node.yaml")
		}
	}
	for _, e := range v.List {
		c.secrets(e, where, resolved)
	}
	for _, k := range v.Keys {
		c.secrets(k.Value, where+"."+k.Name, resolved || slices.Contains(secret.Tables(), k.Name))
	}
}
