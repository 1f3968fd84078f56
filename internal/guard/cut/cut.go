// Package cut keeps the guard from its quorum disks for a while, as where the path to
// them is lost: for a drill. Nothing that the lease rests on is touched; it ends by
// itself, and so does the cut.
package cut

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/clock"
)

// Why a cut is refused, and what a request says that is not made.
var (
	ErrLong = errors.New("a drill may cut the disks for ten minutes at most")
	ErrCut  = errors.New("a drill keeps this node from its quorum disks for a while (holdfast drill cut-disk)")
)

// most bounds how long a cut may last.
const most = 10 * time.Minute

// Cut is one; the zero value cuts nothing. It may be used by several goroutines, and
// allocates nothing.
type Cut struct{ until atomic.Int64 } // ident.Instant; 0: it is over

// Begin cuts for a time from now on; zero ends it. It fails with ErrLong.
func (c *Cut) Begin(clock clock.Sampler, length time.Duration) error {
	s, err := clock.Sample()
	switch {
	case err != nil:
		return err
	case length > most:
		return ErrLong
	}
	c.until.Store(int64(s.Now.Add(length)))
	return nil
}

// Check is ErrCut while the cut lasts. A clock that cannot be read is an error then.
func (c *Cut) Check(clock clock.Sampler) error {
	until := c.until.Load()
	if until == 0 {
		return nil
	}
	s, err := clock.Sample()
	switch {
	case err != nil:
		return err
	case s.Now < ident.Instant(until):
		return ErrCut
	}
	c.until.CompareAndSwap(until, 0)
	return nil
}
