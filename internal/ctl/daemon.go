package ctl

import (
	"path/filepath"

	"github.com/holdfast-ha/holdfast/internal/api"
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
