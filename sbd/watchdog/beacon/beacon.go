// Package beacon measures how long a watchdog device takes to reset its machine.
// What ends with the machine cannot take the time of its end; so the machine
// writes, fifty times a second, how long ago the device was last fed, to a sector
// of a disk that outlives it. Whoever reads the sector afterwards, another machine
// or the same one after its boot, finds the last of these beacons: the reset came
// after it, and before the next one would have been there.
//
// One sector holds it all, the runs that are over included, so that a series of
// runs needs no other memory: each boot reads it, adds the run that was ended by
// the reset, and begins the next. It has one writer.
package beacon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// A beacon, little endian (offsets in the sector):
//
//	  0   8  "HFBEACON"
//	  8   4  version, 1
//	 12   4  CRC-32C of bytes 0 to 511, this field taken as zero: a torn or foreign sector
//	 16  16  series: the runs of one series belong to one record
//	 32  16  boot that wrote it: a reset lies between two boots
//	 48   8  sequence: a change is a sign of life
//	 56   1  kind of the present run: 1 starve, 2 guard death
//	 57   1  phase: 1 fed, 2 starving, 3 survived
//	 58   1  finished runs, 0 to 12
//	 59   5  zero
//	 64   8  timeout that was asked for, ns
//	 72   8  timeout as read back, ns
//	 80   8  time from before the last feed to the issue of this beacon, ns
//	 88   8  longest time between the issues of two beacons of this run, ns
//	 96   8  longest write of this run, ns
//	104  32  SHA-256 of the setting: a series ends where anything of it changes
//	136  64  node, filled up with zeros
//	200  64  device identity, filled up with zeros
//	264  32  driver, filled up with zeros
//	296 216  finished runs, 18 bytes each: kind, zero, least and most, ns
//
// The rest of a larger sector is zero.
const (
	offVersion  = 8
	offCRC      = 12
	offSeries   = 16
	offBoot     = 32
	offSeq      = 48
	offKind     = 56
	offPhase    = 57
	offRuns     = 58
	offZero     = 59
	offAsked    = 64
	offTimeout  = 72
	offElapsed  = 80
	offGap      = 88
	offWrite    = 96
	offSetting  = 104
	offNode     = 136
	offIdentity = 200
	offDriver   = 264
	offDone     = 296
	runSize     = 18

	// MaxRuns is how many finished runs a beacon has room for.
	MaxRuns = 12
	// Size is the bytes that count of a sector.
	Size = 512

	magic   = "HFBEACON"
	version = 1
)

var _ [Size - offDone - MaxRuns*runSize]struct{} = [0]struct{}{}

// Why a sector is no beacon; told apart with errors.Is.
var (
	ErrNone    = errors.New("no beacon: the sector is empty")
	ErrForeign = errors.New("the sector holds something else than a beacon")
	ErrVersion = errors.New("a beacon of another version of this program")
	ErrDamaged = errors.New("a damaged beacon")
)

// Phase is what the device gets while a beacon is written.
type Phase uint8

// The phases of a run.
const (
	Fed      Phase = iota + 1 // it is fed: a reset now would be a device that is not held up by feeding
	Starving                  // it was fed for the last time
	Survived                  // the machine is still there, long after it should have been reset
)

// String is the word that commands print.
func (p Phase) String() string {
	names := [...]string{"none", "fed", "starving", "survived"}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// Result is a finished run: the reset came between Least and Most after the last
// feed. The distance is the margin of the measurement.
type Result struct {
	Kind        watchdog.RunKind
	Least, Most time.Duration
}

// Beacon is one decoded sector.
type Beacon struct {
	Series, Boot [16]byte
	Seq          uint64
	Run          Run
	Device       Device
	Done         []Result // the runs before this one
}

// Run is the run that is under way.
type Run struct {
	Kind    watchdog.RunKind
	Phase   Phase
	Elapsed time.Duration // since the last feed, at the issue of this beacon
	Gap     time.Duration // longest time between the issues of two beacons
	Write   time.Duration // longest write
}

// Device is whose time is measured. Names longer than 64 bytes, and drivers longer
// than 32, are cut.
type Device struct {
	Node, Identity, Driver string
	Asked, Timeout         time.Duration // asked for, and as read back
	Setting                [32]byte      // digest of everything that the time may depend on
}

// Ended is the run of a beacon whose machine has booted since, as a result.
func (r Run) Ended() Result {
	return Result{Kind: r.Kind, Least: r.Elapsed, Most: r.Elapsed + r.Gap + r.Write}
}

// Encode writes b into a whole sector of 512 bytes or more. It fails if there are
// more than MaxRuns finished runs.
func Encode(sector []byte, b *Beacon) error {
	if len(sector) < Size {
		return fmt.Errorf("beacon: a sector of %d bytes", len(sector))
	}
	if len(b.Done) > MaxRuns {
		return fmt.Errorf("beacon: %d finished runs, room for %d", len(b.Done), MaxRuns)
	}
	clear(sector)
	copy(sector, magic)
	le := binary.LittleEndian
	le.PutUint32(sector[offVersion:], version)
	copy(sector[offSeries:], b.Series[:])
	copy(sector[offBoot:], b.Boot[:])
	le.PutUint64(sector[offSeq:], b.Seq)
	sector[offKind], sector[offPhase], sector[offRuns] = kindCode(b.Run.Kind), byte(b.Run.Phase), byte(len(b.Done))
	for off, d := range b.times() {
		le.PutUint64(sector[off:], uint64(*d))
	}
	copy(sector[offSetting:], b.Device.Setting[:])
	copy(sector[offNode:offIdentity], b.Device.Node)
	copy(sector[offIdentity:offDriver], b.Device.Identity)
	copy(sector[offDriver:offDone], b.Device.Driver)
	for i, r := range b.Done {
		at := sector[offDone+i*runSize:]
		at[0] = kindCode(r.Kind)
		le.PutUint64(at[2:], uint64(r.Least))
		le.PutUint64(at[10:], uint64(r.Most))
	}
	le.PutUint32(sector[offCRC:], checksum(sector))
	return nil
}

// times are the durations of a beacon by their places.
func (b *Beacon) times() map[int]*time.Duration {
	return map[int]*time.Duration{
		offAsked: &b.Device.Asked, offTimeout: &b.Device.Timeout,
		offElapsed: &b.Run.Elapsed, offGap: &b.Run.Gap, offWrite: &b.Run.Write,
	}
}

// Decode reads a sector. Its errors wrap ErrNone, ErrForeign, ErrVersion or
// ErrDamaged.
func Decode(sector []byte) (*Beacon, error) {
	if len(sector) < Size {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(sector))
	}
	le := binary.LittleEndian
	switch {
	case isZero(sector):
		return nil, ErrNone
	case string(sector[:offVersion]) != magic:
		return nil, ErrForeign
	case le.Uint32(sector[offVersion:]) != version:
		return nil, fmt.Errorf("%w: %d, this program knows %d", ErrVersion, le.Uint32(sector[offVersion:]), version)
	case le.Uint32(sector[offCRC:]) != checksum(sector):
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	case !isZero(sector[offZero:offAsked]) || !isZero(sector[Size:]) || sector[offRuns] > MaxRuns:
		return nil, fmt.Errorf("%w: bytes that must be zero are not", ErrDamaged)
	}
	b := &Beacon{Seq: le.Uint64(sector[offSeq:])}
	copy(b.Series[:], sector[offSeries:])
	copy(b.Boot[:], sector[offBoot:])
	copy(b.Device.Setting[:], sector[offSetting:])
	b.Device.Node, b.Device.Identity = text(sector[offNode:offIdentity]), text(sector[offIdentity:offDriver])
	b.Device.Driver = text(sector[offDriver:offDone])
	b.Run.Kind, b.Run.Phase = kindOf(sector[offKind]), Phase(sector[offPhase])
	good := b.Run.Kind != "" && b.Run.Phase >= Fed && b.Run.Phase <= Survived
	for off, d := range b.times() {
		*d = time.Duration(le.Uint64(sector[off:]))
		good = good && *d >= 0
	}
	for i := range int(sector[offRuns]) {
		at := sector[offDone+i*runSize:]
		r := Result{kindOf(at[0]), time.Duration(le.Uint64(at[2:])), time.Duration(le.Uint64(at[10:]))}
		good = good && r.Kind != "" && r.Least >= 0 && r.Most >= r.Least && at[1] == 0
		b.Done = append(b.Done, r)
	}
	if !good || b.Device.Timeout <= 0 {
		return nil, fmt.Errorf("%w: a value that no program writes", ErrDamaged)
	}
	return b, nil
}

func kindCode(k watchdog.RunKind) byte {
	if k == watchdog.RunGuardDeath {
		return 2
	}
	return 1
}

func kindOf(code byte) watchdog.RunKind {
	switch code {
	case 1:
		return watchdog.RunStarve
	case 2:
		return watchdog.RunGuardDeath
	}
	return ""
}

func checksum(sector []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, sector[:offCRC])
	sum = crc32.Update(sum, table, make([]byte, 4))
	return crc32.Update(sum, table, sector[offSeries:Size])
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
