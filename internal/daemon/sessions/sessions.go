// Package sessions keeps this node's iSCSI sessions below services whose storage
// reservations guard.
//
// A node registers its key on a LUN before it owns anything that stands on it, and
// takes the keys of others away through paths of its own. So the sessions are there
// first, on every node that may run the service, before any key is on its way: a
// registration asks for them here, and is put off while there are none. A session
// that was made anew has no key until the next registration, and until then its
// writes fail: coming late costs time, and never two writers.
package sessions

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/resources/iscsi"
)

const (
	// loginWithin bounds the logins at all portals of a target.
	loginWithin = 40 * time.Second
	// patience is how long a registration waits for a login: usually it takes less,
	// and while a registration waits nobody can prove this node's keys gone.
	patience = 2 * time.Second
)

// Holder makes sessions. The zero value is ready, and may be used by several
// goroutines.
type Holder struct {
	mu    sync.Mutex
	tries map[string]*try // by the member's specification
}

// try is a login under way, or how the last one ended.
type try struct {
	ended chan struct{} // closed with it
	err   error
}

// Attach makes what is missing of the sessions below a service, and says why a
// member has none that works. It returns within 2 seconds for each member: a login
// that takes longer goes on, and the next call tells how it ended.
func (h *Holder) Attach(s *cluster.Service) error {
	for i := range s.Stack {
		m := &s.Stack[i]
		if m.Kind != "iscsi" || !m.Guarded {
			continue
		}
		missing, works, err := iscsi.Held(m.Spec)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", m.ID, err)
		case works && len(missing) == 0:
			continue
		}
		t := h.login(m)
		if works {
			continue // over another portal
		}
		wait := time.NewTimer(patience)
		select {
		case <-t.ended:
		case <-wait.C:
			return fmt.Errorf("%s: logging in", m.ID)
		}
		wait.Stop()
		if t.err != nil {
			return fmt.Errorf("%s: %w", m.ID, t.err)
		}
	}
	return nil
}

// login begins a login, unless one is under way.
func (h *Holder) login(m *cluster.Member) *try {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := string(m.Spec)
	if t := h.tries[key]; t != nil {
		select {
		case <-t.ended:
		default:
			return t
		}
	}
	t := &try{ended: make(chan struct{})}
	if h.tries == nil {
		h.tries = map[string]*try{}
	}
	h.tries[key] = t
	go func() { // ends with its deadline
		ctx, cancel := context.WithTimeout(context.Background(), loginWithin)
		defer cancel()
		t.err = iscsi.Hold(ctx, m.Spec)
		close(t.ended)
	}()
	return t
}
