package statecodec

import (
	"errors"
	"sync"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Cache encodes a state once for all disks. It may be used by several goroutines.
type Cache struct {
	mu    sync.Mutex
	state *cluster.State // under mu
	body  []byte         // under mu: of state; never changed
}

// Encode is as the function of that name; the bytes are not to be changed. Errors are
// Encode's, or say that there is no state.
func (c *Cache) Encode(s *cluster.State) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == nil {
		return nil, errors.New("there is no state to write")
	}
	if c.state == s {
		return c.body, nil
	}
	body, err := Encode(s)
	if err != nil {
		return nil, err
	}
	c.state, c.body = s, body
	return body, nil
}
