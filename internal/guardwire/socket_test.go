package guardwire

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"
)

// pair is a client and the guard's end of its connection, past the greeting.
func pair(t *testing.T) (*Client, *Conn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guard.sock")
	l, err := Listen(path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan *Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			h, o, rerr := c.Receive()
			if _, hello := o.(*Hello); rerr != nil || !hello {
				t.Errorf("greeted with %+v, %v", o, rerr)
			}
			err = c.Deliver(h.Seq, &Snapshot{Now: 42})
		}
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	client, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	conn := <-accepted
	t.Cleanup(func() {
		_ = client.Close()
		_ = conn.Close()
		_ = l.Close()
	})
	return client, conn
}

func TestOrderAndEcho(t *testing.T) {
	client, conn := pair(t)
	if client.Snapshot().Now != 42 {
		t.Errorf("snapshot %+v", client.Snapshot())
	}
	seq, err := client.Send(&Stopping{Inc: inc})
	if err != nil {
		t.Fatal(err)
	}
	h, o, err := conn.Receive()
	if err != nil || h.Conn != conn.ID || h.Seq != seq || o.(*Stopping).Inc != inc {
		t.Fatalf("%+v %+v %v, want connection %d", h, o, err, conn.ID)
	}
	if err := conn.Deliver(h.Seq, &Echo{Order: h.Kind, OK: true}); err != nil {
		t.Fatal(err)
	}
	m, err := client.Receive()
	if e, ok := m.(*Echo); err != nil || !ok || e.Seq != seq || !e.OK || e.Order != KindStopping {
		t.Errorf("%+v %v", m, err)
	}
}

// A large table comes in parts and arrives as one.
func TestLargeTable(t *testing.T) {
	client, conn := pair(t)
	want := make([]byte, 2*MaxChunk+4096)
	for i := range want {
		want[i] = byte(i / 512)
	}
	if !conn.Offer(&Table{Disk: 1, Completed: 9, SuperblockOK: true, Bytes: want}) {
		t.Fatal("dropped although nothing was waiting")
	}
	m, err := client.Receive()
	table, ok := m.(*Table)
	if err != nil || !ok || table.Disk != 1 || table.Completed != 9 || !bytes.Equal(table.Bytes, want) {
		t.Errorf("got %T %v", m, err)
	}
}

// Parts of which one was lost are no table; the next whole one is.
func TestLostPart(t *testing.T) {
	client, conn := pair(t)
	big := &Table{Bytes: make([]byte, 3*MaxChunk), cycle: 1}
	for _, off := range []uint32{0, 2 * MaxChunk} {
		big.offset = off
		if err := conn.Deliver(0, big); err != nil {
			t.Fatal(err)
		}
	}
	big.cycle, big.offset = 2, MaxChunk
	if err := conn.Deliver(0, big); err != nil {
		t.Fatal(err)
	}
	if !conn.Offer(&Table{Bytes: []byte("whole")}) {
		t.Fatal("dropped")
	}
	m, err := client.Receive()
	if table, ok := m.(*Table); err != nil || !ok || string(table.Bytes) != "whole" {
		t.Errorf("got %+v, %v", m, err)
	}
}

// Tables for a daemon that does not read are dropped, and leave room for echoes;
// an echo for which there is no room ends the connection.
func TestDaemonThatDoesNotRead(t *testing.T) {
	_, conn := pair(t)
	table := &Table{Bytes: make([]byte, MaxChunk)}
	for n := 0; conn.Offer(table); n++ {
		if n > 1000 {
			t.Fatal("32 MiB were taken and nobody reads")
		}
	}
	echo := &Echo{Order: KindPermission, OK: true}
	if err := conn.Deliver(1, echo); err != nil {
		t.Fatalf("tables left no room for an echo: %v", err)
	}
	var err error
	for n := 0; err == nil; n++ {
		if n > 1<<20 {
			t.Fatal("a million echoes were taken and nobody reads")
		}
		err = conn.Deliver(2, echo)
	}
	if !errors.Is(err, ErrStuck) {
		t.Errorf("%v, want ErrStuck", err)
	}
	if _, _, err := conn.Receive(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the connection lives on: %v", err)
	}
}

func TestDaemonThatEnds(t *testing.T) {
	client, conn := pair(t)
	if _, err := client.Send(&Kick{}); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, o, err := conn.Receive(); err != nil || o.Kind() != KindKick {
		t.Errorf("what it said last is lost: %v", err)
	}
	if _, _, err := conn.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want the end", err)
	}
}

func TestGuardThatEnds(t *testing.T) {
	client, conn := pair(t)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Receive(); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

func TestTellingAllocatesNothing(t *testing.T) {
	_, conn := pair(t)
	table, echo := &Table{Bytes: make([]byte, 512)}, &Echo{OK: true}
	if n := testing.AllocsPerRun(20, func() {
		if !conn.Offer(table) || conn.Deliver(1, echo) != nil {
			t.Error("not told")
		}
	}); n != 0 {
		t.Errorf("%v allocations to tell a table and an echo", n)
	}
}
