package scsi

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// drive is an NVMe namespace in memory that several hosts share. A registration is
// a host's, whatever its controllers.
type drive struct {
	can  byte
	gen  uint32
	kind uint32
	keys map[string]uint64
	hold string
}

// seat is the drive as one host has it.
type seat struct {
	*drive
	host string
}

func (s seat) change(c change) error {
	if s.can == 0 {
		return errNoCommand()
	}
	own, registered := s.keys[s.host]
	switch c.request {
	case prRegister:
		if registered && (c.old == 0 || c.flags&prIgnoreKey == 0 && c.old != own) {
			return &StatusError{Status: Conflict}
		}
		s.keys[s.host] = c.new
		s.gen++
	case prReserve:
		if !registered || own != c.old || s.kind != 0 && (s.kind != c.kind || s.kind != 5 && s.hold != s.host) {
			return &StatusError{Status: Conflict}
		}
		s.kind, s.hold = c.kind, s.host
	case prPreemptAbort:
		if !registered || own != c.old {
			return &StatusError{Status: Conflict}
		}
		for h, k := range s.keys {
			if k == c.new {
				delete(s.keys, h)
				if h == s.hold {
					s.kind, s.hold = c.kind, s.host
				}
			}
		}
		s.gen++
	default:
		return errNoCommand()
	}
	return nil
}

func (s seat) report() (nvmeStatus, error) {
	if s.can == 0 {
		return nvmeStatus{}, errNoCommand()
	}
	r := nvmeStatus{Generation: s.gen, Kind: byte(s.kind), Persists: true}
	for h, k := range s.keys {
		r.Registrants = append(r.Registrants, nvmeRegistrant{k, s.kind == 5 || s.kind != 0 && h == s.hold})
	}
	return r, nil
}

func (s seat) rescap() (byte, error) { return s.can, nil }

// TestNVMe: what a LUN of SCSI paths does, the namespace does too, with a type for
// all registrants and without.
func TestNVMe(t *testing.T) {
	const alpha, old, beta, gamma = 0x48abcdef01000005, 0x48abcdef01000004, 0x48abcdef02000003, 0x48abcdef03000001
	for name, c := range map[string]struct {
		can  byte
		want Type
	}{"all types": {0x7f, AllRegistrants}, "registrants only": {0x09, RegistrantsOnly}} {
		t.Run(name, func(t *testing.T) {
			d := &drive{can: c.can, keys: map[string]uint64{}}
			lun := func(host string) LUN {
				return LUN{Name: host, Paths: []Path{&nvme{"nvme0n1", seat{d, host}}}}
			}
			for _, r := range []struct {
				host string
				key  uint64
			}{{"beta", beta}, {"alpha", old}, {"alpha", alpha}, {"gamma", gamma}} {
				if report, err := lun(r.host).Register(r.key); err != nil || report.Reservation.Type != c.want || !report.Capabilities.Persisting {
					t.Fatalf("%s: %+v, %v", r.host, report, err)
				}
			}
			r, err := lun("beta").Take(beta, func(k uint64) (bool, bool) { return k == alpha, false })
			if err != nil || !slices.Equal(r.Aborted, []uint64{alpha}) || len(r.Keys) != 2 || r.Unsure {
				t.Fatalf("%+v, %v", r, err)
			}
			if _, err := lun("alpha").Check(alpha); err == nil {
				t.Error("the loser believes that it is registered")
			}
			if _, err := lun("gamma").Check(gamma); err != nil {
				t.Errorf("who is welcome: %v", err)
			}
		})
	}
	none := LUN{Name: "plain", Paths: []Path{&nvme{"nvme1n1", seat{&drive{keys: map[string]uint64{}}, "alpha"}}}}
	if _, err := none.Register(alpha); err == nil {
		t.Error("a namespace without reservations has one")
	}
}

// TestNVMeStatus compares with layouts written down by hand.
func TestNVMeStatus(t *testing.T) {
	for extended, text := range map[bool]string{
		false: "07000000 05 0200 0000 01 0000000000000000000000000000" +
			"0100 01 0000000000 1111111111111111 0500000 1efcdab48" + "0200 00 0000000000 2222222222222222 0300000 2efcdab48",
		true: "07000000 05 0200 0000 01 0000000000000000000000000000" + zeroes(40) +
			"0100 01 0000000000 0500000 1efcdab48" + zeroes(48) + "0200 00 0000000000 0300000 2efcdab48" + zeroes(48),
	} {
		b := unhex(t, text)
		s, err := parseNVMeStatus(b, extended)
		want := []nvmeRegistrant{{0x48abcdef01000005, true}, {0x48abcdef02000003, false}}
		if err != nil || s.Generation != 7 || s.Kind != 5 || !s.Persists || !slices.Equal(s.Registrants, want) {
			t.Errorf("extended %v: %+v, %v", extended, s, err)
		}
		if _, err := parseNVMeStatus(b[:len(b)-1], extended); !errors.Is(err, ErrShort) {
			t.Errorf("extended %v, cut off: %v", extended, err)
		}
	}
}

func zeroes(n int) string { return hex.EncodeToString(make([]byte, n)) }

func TestNVMeVerdict(t *testing.T) {
	for _, c := range []struct {
		r        uintptr
		errno    unix.Errno
		conflict bool
		fine     bool
	}{{0, 0, false, true}, {0x4083, 0, true, false}, {0x18, 0, true, false}, {0, unix.EBADE, true, false}, {0x4002, 0, false, false}, {0, unix.EIO, false, false}} {
		if err := verdict(c.r, c.errno); IsConflict(err) != c.conflict || (err == nil) != c.fine {
			t.Errorf("%#x, %v: %v", c.r, c.errno, err)
		}
	}
}
