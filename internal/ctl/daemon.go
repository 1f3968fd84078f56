package ctl

import (
	"context"
	"path/filepath"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/ctl/doctor"
)

// dial connects to the daemon of this node.
func (a *app) dial() (*api.Client, error) {
	path := a.socket
	if path == "" {
		n, err := a.Node()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(n.Dirs.Run, "api.sock")
	}
	return api.Dial(path)
}

// dialAll connects to the daemon of this node, and through it to those of the others.
func (a *app) dialAll() (doctor.Daemon, func(string) doctor.Other, error) {
	c, err := a.dial()
	return c, func(node string) doctor.Other { return c.Of(node) }, err
}

// alertTest has the receivers of alerts told that this is a test.
func (a *app) alertTest(ctx context.Context, r api.AlertTest) ([]api.AlertTried, error) {
	c, err := a.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.AlertTest(ctx, r)
}
