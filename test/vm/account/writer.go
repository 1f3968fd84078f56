package account

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Run is the writer: "init account -disk PATH | -file PATH [-recorder HOST:PORT] [-pace D]". It goes on where the writer before
// it has ended, and ends with the first write that fails.
func Run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("account", flag.ContinueOnError)
	disk := flags.String("disk", "", "write blocks to this disk")
	file := flags.String("file", "", "append records to this file")
	recorder := flags.String("recorder", "", "who is told of every confirmed write")
	pace := flags.Duration("pace", 40*time.Millisecond, "rest after a write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	w := writer{out: out, pace: *pace, owner: hostNumber()}
	var run [8]byte
	if _, err := rand.Read(run[:]); err != nil {
		return err
	}
	w.run = binary.LittleEndian.Uint64(run[:]) | 1
	if *recorder != "" {
		var err error
		if w.recorder, err = net.Dial("udp", *recorder); err != nil {
			return err
		}
		defer w.recorder.Close()
	}
	if *disk != "" {
		return w.writeDisk(*disk)
	}
	return w.writeFile(*file)
}

type writer struct {
	out      io.Writer
	recorder net.Conn
	owner    uint32
	run      uint64
	pace     time.Duration
}

// confirm tells of a write that was confirmed. What is not heard of is not judged.
func (w *writer) confirm(kind uint32, k Block) {
	if w.recorder != nil {
		_, _ = w.recorder.Write(Confirmation{kind, k}.datagram())
	}
}

func (w *writer) writeDisk(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	all := aligned(Slots * Size)
	if _, err := f.ReadAt(all, 0); err != nil {
		return fmt.Errorf("what stands there: %w", err)
	}
	var last uint64
	for i := range Slots {
		k, err := Decode(all[i*Size : (i+1)*Size])
		if err != nil {
			return fmt.Errorf("slot %d: %w", i, err)
		}
		last = max(last, k.Number)
	}
	fmt.Fprintf(w.out, "run %x goes on behind block %d\n", w.run, last)
	b := aligned(Size)
	for n := last + 1; ; n++ {
		k := Block{w.owner, w.run, n}
		k.Encode(b)
		if _, err := f.WriteAt(b, int64(n%Slots)*Size); err != nil {
			return fmt.Errorf("block %d: %w", n, err)
		}
		w.confirm(OnDisk, k)
		time.Sleep(w.pace)
	}
}

func (w *writer) writeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(f); err != nil {
		return fmt.Errorf("what stands there: %w", err)
	}
	list, _ := Records(content.Bytes())
	fmt.Fprintf(w.out, "run %x goes on behind record %d\n", w.run, len(list))
	if err := f.Truncate(int64(len(list)) * Length); err != nil {
		return err
	}
	// The folder has the name of a new file on the disk only after this.
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return err
	}
	for n := uint64(len(list)) + 1; ; n++ {
		k := Block{w.owner, w.run, n}
		_, err := f.WriteAt(k.record(), int64(n-1)*Length)
		if err = errors.Join(err, f.Sync()); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		w.confirm(InFile, k)
		time.Sleep(w.pace)
	}
}

func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// aligned gives memory that direct I/O takes.
func aligned(n int) []byte {
	b := make([]byte, n+Size)
	skip := Size - int(uintptr(unsafe.Pointer(&b[0]))%Size)
	return b[skip : skip+n : skip+n]
}

// hostNumber is the number at the end of the host's name; 0: there is none.
func hostNumber() uint32 {
	name, _ := os.Hostname()
	n, _ := strconv.ParseUint(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz-"), 10, 32)
	return uint32(n)
}
