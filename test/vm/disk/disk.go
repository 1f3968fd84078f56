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

// Export offers the disk to a machine and returns the socket.
func (d *Disk) Export(machine string) (string, error) {
	path := filepath.Join(d.dir, d.Serial+"-"+machine)
	l, err := net.Listen("unix", path)
	if err != nil {
		return "", err
	}
	e := &export{disk: d, listener: l, changed: make(chan struct{})}
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
	listener net.Listener

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed and replaced with every change of fault
	conns   []net.Conn
	over    bool
}

func (e *export) set(f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = f
	close(e.changed)
	e.changed = make(chan struct{})
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
	return err
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
