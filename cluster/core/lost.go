package core

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/decide"
)

// overtaken keeps the draft of a proposal that another node's ballot has ended.
// That node adopts what it finds on the disks, so the draft may still be chosen,
// by somebody who does not know why it was made: its story is this node's to tell.
func (c *Core) overtaken() {
	if d := c.reg.draft; d != nil && d.Changed() {
		c.reg.lost = d
	}
	c.reg.draft = nil
}

// recovered tells the story of a draft that others have chosen, when this node
// learns of its version.
func (c *Core) recovered() {
	d := c.reg.lost
	if d == nil || c.reg.ver < d.State.Ver {
		return
	}
	c.reg.lost = nil
	if c.reg.ver != d.State.Ver || !same(d.State, c.reg.state) {
		return
	}
	c.tell(d)
	c.answer(d)
}

// tell makes the notes of a chosen draft part of the story.
func (c *Core) tell(d *decide.Draft) {
	for _, n := range d.Notes {
		n.Ver = d.State.Ver
		c.note(n)
	}
	c.chose(d)
}

// same compares what was proposed with what was read. The body on the disk keeps
// everything but the parsed configuration.
func same(a, b *cluster.State) bool {
	return a.View == b.View && a.ConfigRev == b.ConfigRev && a.DiskGen == b.DiskGen &&
		fmt.Sprint(a.Nodes) == fmt.Sprint(b.Nodes) && fmt.Sprint(a.Services) == fmt.Sprint(b.Services) && fmt.Sprint(a.Life) == fmt.Sprint(b.Life)
}
