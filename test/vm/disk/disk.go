// Package disk is the shared storage of the rig: a file that this process offers to machines by the network block device
// protocol (NBD), each machine over a connection of its own, so that faults can be put before one machine and not before
// another.
//
// A write is answered when the file has it, and every later read of any machine sees it. There is no cache to flush: the file
// outlives all machines.
package disk

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Fault is what happens to the requests of one machine. The zero value is none.
type Fault struct {
	Delay   time.Duration // every request waits
	Hang    bool          // no request is answered until that changes
	Error   syscall.Errno // requests fail with it
	Reading bool          // reads work as ever: Error is for writes alone
	Drop    bool          // what is held back now fails with EIO, as an array forgets the commands of a host that was reset
}

// Write is a write that has landed: the file has it, and nothing that was told of earlier has landed later.
type Write struct {
	Machine string
	At      time.Time
	Offset  int64
	Data    []byte // valid until the observer returns
}

// Disk is a file and its exports.
type Disk struct {
	Serial string
	dir    string
	file   *os.File
	size   int64
	serve  sync.WaitGroup

	mu      sync.Mutex
	exports map[string]*export

	landing  sync.Mutex // of one write after the other, while somebody looks on
	observer func(Write)
}

// Make makes a disk of zeroes, of size bytes, whose file and sockets are in dir.
func Make(dir, serial string, size int64) (*Disk, error) {
	f, err := os.OpenFile(filepath.Join(dir, serial+".img"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &Disk{Serial: serial, dir: dir, file: f, size: size, exports: map[string]*export{}}, f.Truncate(size)
}

// File is the file below, for a look from outside.
func (d *Disk) File() *os.File { return d.file }

// Path is the name of that file.
func (d *Disk) Path() string { return d.file.Name() }

// Observe has every write told to f, in the order in which they land and before the machine hears that it did. It is called
// once, before the disk is used.
func (d *Disk) Observe(f func(Write)) { d.observer = f }

// Clone gives one machine a copy of the disk as it is now in its place, under the same name, as an array does that maps a
// snapshot; nil takes that back.
func (d *Disk) Clone(machine string, copied bool) error {
	d.mu.Lock()
	e := d.exports[machine]
	d.mu.Unlock()
	if e == nil {
		return fmt.Errorf("disk %s is not offered to %s", d.Serial, machine)
	}
	if !copied {
		return e.replace(nil)
	}
	f, err := os.CreateTemp(d.dir, d.Serial+"-copy-*.img")
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, io.NewSectionReader(d.file, 0, d.size)); err != nil {
		return errors.Join(err, f.Close())
	}
	return e.replace(f)
}

// Erase makes the disk one of zeroes: an empty one stands where it was.
func (d *Disk) Erase() error {
	return errors.Join(d.file.Truncate(0), d.file.Truncate(d.size))
}

// land writes, and tells the observer.
func (d *Disk) land(machine string, r request) error {
	if d.observer == nil {
		_, err := d.file.WriteAt(r.data, r.offset)
		return err
	}
	d.landing.Lock()
	defer d.landing.Unlock()
	_, err := d.file.WriteAt(r.data, r.offset)
	d.observer(Write{machine, time.Now(), r.offset, r.data})
	return err
}

// Export offers the disk to a machine and returns the socket.
func (d *Disk) Export(machine string) (string, error) {
	path := filepath.Join(d.dir, d.Serial+"-"+machine)
	l, err := net.Listen("unix", path)
	if err != nil {
		return "", err
	}
	e := &export{disk: d, machine: machine, listener: l, changed: make(chan struct{}), dropped: make(chan struct{})}
	d.mu.Lock()
	d.exports[machine] = e
	d.mu.Unlock()
	d.serve.Add(1)
	go e.accept()
	return path, nil
}

// Set puts a fault before a machine, or takes it away; what hung goes on then.
func (d *Disk) Set(machine string, f Fault) error {
	d.mu.Lock()
	e := d.exports[machine]
	d.mu.Unlock()
	if e == nil {
		return fmt.Errorf("disk %s is not offered to %s", d.Serial, machine)
	}
	e.set(f)
	return nil
}

// Close ends all exports, waits for that, and closes the file.
func (d *Disk) Close() error {
	d.mu.Lock()
	var errs []error
	for _, e := range d.exports {
		errs = append(errs, e.close())
	}
	d.mu.Unlock()
	d.serve.Wait()
	return errors.Join(append(errs, d.file.Close())...)
}

// export is the disk as one machine has it.
type export struct {
	disk     *Disk
	machine  string
	listener net.Listener

	mu      sync.Mutex
	fault   Fault
	copied  *os.File      // what the machine has in the disk's place; nil: the disk
	dropped chan struct{} // closed and replaced when what is held back is to fail
	changed chan struct{} // closed and replaced with every change of fault
	conns   []net.Conn
	over    bool
}

func (e *export) set(f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.Drop {
		close(e.dropped)
		e.dropped = make(chan struct{})
	}
	e.fault = f
	close(e.changed)
	e.changed = make(chan struct{})
}

// replace puts a file in the disk's place.
func (e *export) replace(f *os.File) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.copied
	e.copied = f
	if old == nil {
		return nil
	}
	return errors.Join(old.Close(), os.Remove(old.Name()))
}

// instead is what the machine has in the disk's place, or nil.
func (e *export) instead() *os.File {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.copied
}

func (e *export) close() error {
	err := e.listener.Close()
	e.mu.Lock()
	e.over = true
	for _, c := range e.conns {
		_ = c.Close() // it may be closed already
	}
	e.mu.Unlock()
	e.set(Fault{})
	return errors.Join(err, e.replace(nil))
}

// accept serves one connection after the other, until the listener is closed.
func (e *export) accept() {
	defer e.disk.serve.Done()
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.mu.Lock()
		over := e.over
		e.conns = append(e.conns, conn)
		e.mu.Unlock()
		if over {
			_ = conn.Close()
			return
		}
		e.disk.serve.Add(1)
		go func() { // ends with the connection
			defer e.disk.serve.Done()
			s := session{export: e, conn: conn, gone: make(chan struct{})}
			s.run()
		}()
	}
}
