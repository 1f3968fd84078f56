package volatile

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// block is the unit that a power loss leaves whole, bytes: a physical sector.
const block = 4096

// spill is of how many written blocks one goes down to the medium without a flush.
const spill = 4

// cache is a medium with a volatile cache before it. It is used by one goroutine.
type cache struct {
	medium *os.File
	size   int64
	dirty  map[int64]*[block]byte // by number
}

func newCache(medium *os.File) (*cache, error) {
	st, err := medium.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 || st.Size()%block != 0 {
		return nil, fmt.Errorf("%s has %d bytes: want whole blocks of %d", medium.Name(), st.Size(), block)
	}
	return &cache{medium: medium, size: st.Size(), dirty: map[int64]*[block]byte{}}, nil
}

// read fills p with what is at an offset, as whoever writes sees it.
func (c *cache) read(p []byte, at int64) (int, error) {
	n, err := c.medium.ReadAt(p, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	for i := at / block; i*block < at+int64(n); i++ {
		if b := c.dirty[i]; b != nil {
			from := max(i*block, at)
			copy(p[from-at:n], b[from-i*block:])
		}
	}
	return n, nil
}

// write takes p into the cache. Some block of it, or one that waits since long, may
// reach the medium now.
func (c *cache) write(p []byte, at int64) error {
	if at < 0 || at+int64(len(p)) > c.size {
		return errors.New("beyond the end")
	}
	for len(p) > 0 {
		i, from := at/block, at%block
		b := c.dirty[i]
		if b == nil {
			b = new([block]byte)
			if _, err := c.medium.ReadAt(b[:], i*block); err != nil {
				return err
			}
			c.dirty[i] = b
		}
		n := copy(b[from:], p)
		p, at = p[n:], at+int64(n)
		if rand.IntN(spill) == 0 {
			for any := range c.dirty { // in no order
				if err := c.settle(any); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// settle writes one block to the medium.
func (c *cache) settle(i int64) error {
	_, err := c.medium.WriteAt(c.dirty[i][:], i*block)
	delete(c.dirty, i)
	return err
}

// flush writes everything to the medium.
func (c *cache) flush() error {
	for i := range c.dirty {
		if err := c.settle(i); err != nil {
			return err
		}
	}
	return nil
}
