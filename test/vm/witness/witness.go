// Package witness writes blocks that say who wrote them, and reads from the file behind the disk what has landed.
//
// A region of Slots blocks is a ring: block number n of a writer goes to slot n mod Slots, so that with the writer's name,
// the number and a checksum in every block the file tells whose writes have landed in which order, and a block that is half
// one writer's and half another's shows itself. Writers whose late writes are looked for have a region each, so that no
// other's writes hide them.
package witness

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Size of a block in bytes, and the number of slots.
const (
	Size  = 4096
	Slots = 256
)

const magic = "HFWITNES"

// Block is what one write says.
type Block struct {
	Owner  uint32
	Number uint64 // from 1
}

// Encode fills b, Size bytes: magic (8), owner (4), reserved (4), number (8), a pattern that repeats number and owner, and
// the CRC-32C of all before in the last four bytes. Little endian.
func (k Block) Encode(b []byte) {
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], k.Owner)
	for at := 16; at < Size-8; at += 8 {
		binary.LittleEndian.PutUint64(b[at:], k.Number)
	}
	binary.LittleEndian.PutUint32(b[Size-8:], k.Owner)
	binary.LittleEndian.PutUint32(b[Size-4:], sum(b))
}

func sum(b []byte) uint32 { return crc32.Checksum(b[:Size-4], crc32.MakeTable(crc32.Castagnoli)) }

// ErrTorn is a block that no writer has written as it is.
var ErrTorn = errors.New("a block of no single write")

// Decode reads a block; one that was never written has the number 0.
func Decode(b []byte) (Block, error) {
	if b[0] == 0 && sum(b) == sum(make([]byte, Size)) {
		return Block{}, nil
	}
	if string(b[:8]) != magic || binary.LittleEndian.Uint32(b[Size-4:]) != sum(b) {
		return Block{}, ErrTorn
	}
	return Block{binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint64(b[16:])}, nil
}

// Look reads all slots of a region, the first of which is 0.
func Look(f io.ReaderAt, region int) ([]Block, error) {
	all := make([]Block, Slots)
	b := make([]byte, Size)
	for i := range all {
		if _, err := f.ReadAt(b, int64(region*Slots+i)*Size); err != nil {
			return nil, err
		}
		var err error
		if all[i], err = Decode(b); err != nil {
			return nil, fmt.Errorf("slot %d: %w", i, err)
		}
	}
	return all, nil
}

// Newest is the highest number of an owner's blocks in all; 0: it has none.
func Newest(all []Block, owner uint32) uint64 {
	var n uint64
	for _, b := range all {
		if b.Owner == owner {
			n = max(n, b.Number)
		}
	}
	return n
}

// Run writes blocks to a disk, several at once, until one fails: "init witness -disk PATH -owner N [-region N] [-depth N]
// [-pace D]". It prints "wrote NUMBER" behind every 64th block, and "failed NUMBER: why" for each that failed.
func Run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("witness", flag.ContinueOnError)
	disk := flags.String("disk", "", "path of the disk")
	owner := flags.Uint("owner", hostNumber(), "who writes; else the number at the end of the host's name")
	region := flags.Int("region", 0, "where; else in the region of the owner's number")
	pace := flags.Duration("pace", 0, "how long each writer rests after a write")
	depth := flags.Int("depth", 8, "how many writes are under way at once")
	if err := flags.Parse(args); err != nil {
		return err
	}
	f, err := os.OpenFile(*disk, os.O_RDWR|unix.O_DIRECT|unix.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if *region == 0 {
		*region = int(*owner)
	}
	w := writer{pace: *pace, file: f, out: out, owner: uint32(*owner), start: int64(*region) * Slots * Size}
	var all sync.WaitGroup
	for range *depth {
		all.Add(1)
		go func() { // ends with the first write that fails
			defer all.Done()
			w.work()
		}()
	}
	all.Wait()
	return w.failed
}

type writer struct {
	file  *os.File
	out   io.Writer
	owner uint32
	pace  time.Duration
	start int64 // of the region

	mu     sync.Mutex
	last   uint64
	failed error
}

func (w *writer) work() {
	b := make([]byte, 2*Size)
	skip := Size - int(uintptr(unsafe.Pointer(&b[0]))%Size)
	b = b[skip : skip+Size]
	for {
		w.mu.Lock()
		if w.failed != nil {
			w.mu.Unlock()
			return
		}
		w.last++
		k := Block{w.owner, w.last}
		w.mu.Unlock()
		k.Encode(b)
		_, err := w.file.WriteAt(b, w.start+int64(k.Number%Slots)*Size)
		w.mu.Lock()
		if err != nil {
			fmt.Fprintf(w.out, "failed %d: %v\n", k.Number, err)
			w.failed = errors.Join(w.failed, err)
		} else if k.Number%64 == 0 {
			fmt.Fprintf(w.out, "wrote %d\n", k.Number)
		}
		w.mu.Unlock()
		time.Sleep(w.pace)
	}
}

// hostNumber is the number at the end of the host's name; 0: there is none.
func hostNumber() uint {
	name, _ := os.Hostname()
	n, _ := strconv.ParseUint(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz-"), 10, 32)
	return uint(n)
}
