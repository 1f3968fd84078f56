package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// Boot is one life of a machine's kernel.
type Boot struct {
	ID string // the kernel's boot_id
	At time.Time
}

// agent is the rig's end of the line.
type agent struct {
	conn net.Conn
	over chan struct{}

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan wire.Answer
	boots   []Boot
	ended   []wire.Answer
	before  int // how many had ended at the latest boot
	news    chan struct{}
}

func newAgent(conn net.Conn) *agent {
	a := &agent{conn: conn, over: make(chan struct{}), waiting: map[uint64]chan wire.Answer{}, news: make(chan struct{})}
	go a.read() // ends with the connection
	return a
}

func (a *agent) read() {
	defer close(a.over)
	in := bufio.NewReaderSize(a.conn, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var w wire.Answer
		if i := strings.IndexByte(string(line), '{'); i < 0 || json.Unmarshal(line[i:], &w) != nil {
			continue // cut off by a reset
		}
		a.take(w)
	}
}

func (a *agent) take(w wire.Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch w.Event {
	case "":
		if c := a.waiting[w.ID]; c != nil {
			delete(a.waiting, w.ID)
			c <- w // it has room for one
		}
		return
	case wire.Ready:
		a.before = len(a.ended)
		a.boots = append(a.boots, Boot{strings.TrimSpace(string(w.Output)), time.Now()})
		for id, c := range a.waiting { // their machine is gone
			delete(a.waiting, id)
			c <- wire.Answer{Error: "the machine was reset meanwhile"}
		}
	case wire.Ended:
		a.ended = append(a.ended, w)
	}
	close(a.news)
	a.news = make(chan struct{})
}

// ask sends one request and waits for the answer.
func (a *agent) ask(ctx context.Context, r wire.Request) (wire.Answer, error) {
	answer := make(chan wire.Answer, 1)
	a.mu.Lock()
	a.last++
	r.ID = a.last
	a.waiting[r.ID] = answer
	b, err := json.Marshal(r)
	if err == nil {
		_ = a.conn.SetWriteDeadline(time.Now().Add(time.Minute))
		_, err = a.conn.Write(append(b, '\n'))
	}
	a.mu.Unlock()
	what := string(r.Op) + " " + strings.Join(r.Args, " ")
	if err != nil {
		return wire.Answer{}, fmt.Errorf("%s: %w", what, err)
	}
	select {
	case w := <-answer:
		if w.Error != "" {
			return w, fmt.Errorf("%s: %s", what, w.Error)
		}
		return w, nil
	case <-a.over:
		return wire.Answer{}, fmt.Errorf("%s: the machine is off", what)
	case <-ctx.Done():
		a.mu.Lock()
		delete(a.waiting, r.ID)
		a.mu.Unlock()
		return wire.Answer{}, fmt.Errorf("%s: no answer: %w", what, ctx.Err())
	}
}

// booted waits until the agent has come up for the nth time, from 1.
func (a *agent) booted(ctx context.Context, n int) (Boot, error) {
	for {
		a.mu.Lock()
		news, boots := a.news, a.boots
		a.mu.Unlock()
		if len(boots) >= n {
			return boots[n-1], nil
		}
		select {
		case <-news:
		case <-a.over:
			return Boot{}, fmt.Errorf("boot %d: the machine is off", n)
		case <-ctx.Done():
			return Boot{}, fmt.Errorf("boot %d: %w", n, ctx.Err())
		}
	}
}

// count is how often the machine has booted.
func (a *agent) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.boots)
}

// latest is the latest boot; the zero value: none.
func (a *agent) latest() Boot {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.boots) == 0 {
		return Boot{}
	}
	return a.boots[len(a.boots)-1]
}

// endings are the exit statuses with which the programs of a name have ended since the latest boot.
func (a *agent) endings(name string) (codes []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.ended[a.before:] {
		if w.Name == name {
			codes = append(codes, w.Code)
		}
	}
	return codes
}

// end waits for the end of a started program.
func (a *agent) end(ctx context.Context, name string) (wire.Answer, error) {
	for {
		a.mu.Lock()
		news, ended := a.news, a.ended
		a.mu.Unlock()
		for _, w := range ended {
			if w.Name == name {
				return w, nil
			}
		}
		select {
		case <-news:
		case <-a.over:
			return wire.Answer{}, fmt.Errorf("the end of %s: the machine is off", name)
		case <-ctx.Done():
			return wire.Answer{}, fmt.Errorf("the end of %s: %w", name, ctx.Err())
		}
	}
}
