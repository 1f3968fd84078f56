package guardwire

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// recorder is a guard that notes what it obeys.
type recorder struct {
	mu     sync.Mutex
	obeyed []Order
}

func (r *recorder) Snapshot() (*Snapshot, error) { return &Snapshot{Now: 42}, nil }
func (r *recorder) Hear(uint64, error)           {}
func (r *recorder) Obey(_ uint64, o Order) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.obeyed = append(r.obeyed, o)
	return nil
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.obeyed)
}

// served is a server and the path of its socket.
func served(t *testing.T) (*recorder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guard.sock")
	l, err := Listen(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		NewServer(r).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r, path
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// echo sends an order and gives what the guard says of it.
func echo(t *testing.T, c *Client, o Order) *Echo {
	t.Helper()
	if _, err := c.Send(o); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := m.(*Echo); ok {
			return e
		}
	}
}

// TestOrderOfAnotherLifeIsRefused: an order that carries the number of another
// connection is one of a daemon that is dead, whoever brings it: it is refused,
// and so is one that was said before. A retire obeyed so would free a guard that
// a new daemon believes to be bound.
func TestOrderOfAnotherLifeIsRefused(t *testing.T) {
	r, path := served(t)
	c := dial(t, path)
	retire := &Retire{Inc: ident.Incarnation{N: 7}}
	if e := echo(t, c, retire); !e.OK || r.count() != 1 {
		t.Fatalf("an order of this life: %+v", e)
	}
	c.id--
	if e := echo(t, c, retire); e.OK || r.count() != 1 {
		t.Errorf("an order of another life: %+v, obeyed %d", e, r.count())
	}
	c.id++
	c.seq -= 2
	if e := echo(t, c, retire); e.OK || r.count() != 1 {
		t.Errorf("an order that was said before: %+v, obeyed %d", e, r.count())
	}
}

// TestNewestIsObeyed: once a new daemon has its snapshot, what the old one says is
// not obeyed.
func TestNewestIsObeyed(t *testing.T) {
	r, path := served(t)
	old := dial(t, path)
	fresh := dial(t, path)
	_, _ = old.Send(&Retire{Inc: ident.Incarnation{N: 7}}) // the guard has hung up; whether that is seen already does not matter
	if e := echo(t, fresh, &Kick{}); !e.OK {
		t.Fatalf("%+v", e)
	}
	for {
		if _, err := old.Receive(); err != nil {
			break
		}
	}
	if _, kick := r.obeyed[0].(*Kick); !kick || r.count() != 1 {
		t.Errorf("obeyed: %+v", r.obeyed)
	}
}
