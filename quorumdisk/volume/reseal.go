package volume

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/storage"
)

// ErrUnsettled says that the seal of a record may have been written or not, and may
// yet be: nobody else may write there before nothing that was issued can land.
var ErrUnsettled = errors.New("whether its seal was exchanged is not known")

// UnsettledError is ErrUnsettled with the place.
type UnsettledError struct {
	At  quorumdisk.Place
	Err error
}

// Error says where, and what went wrong.
func (e *UnsettledError) Error() string {
	return fmt.Sprintf("%v of node %d, slot %d: %v: %v", e.At.Purpose, e.At.Node, e.At.Slot, ErrUnsettled, e.Err)
}

// Unwrap gives ErrUnsettled and the cause.
func (e *UnsettledError) Unwrap() []error { return []error{ErrUnsettled, e.Err} }

// Rekey has the volume seal with the current one of the keys from now on, and open
// what is sealed with either.
func (v *Volume) Rekey(keys quorumdisk.Keys) error {
	codec, err := quorumdisk.NewCodec(keys, v.super.Cluster, v.layout)
	if err == nil {
		v.codec = codec
	}
	return err
}

// SealedBefore lists every record that is sealed with the previous key.
func (v *Volume) SealedBefore(timeout time.Duration) ([]quorumdisk.Place, error) {
	var old []quorumdisk.Place
	s, all := int64(v.layout.SectorSize), v.layout.Places(v.super.Size)
	buf := make([]byte, chunk)
	for len(all) > 0 {
		n := 1 // places that stand one behind the other are read in one request
		for n < len(all) && all[n].Off == all[n-1].Off+s && int64(n+1)*s <= chunk {
			n++
		}
		b := buf[:int64(n)*s]
		if err := v.disk.Read(b, all[0].Off, timeout); err != nil {
			return nil, err
		}
		for i, at := range all[:n] {
			if v.codec.SealedWith(b[int64(i)*s:int64(i+1)*s], at) == quorumdisk.SealedByPrevious {
				old = append(old, at)
			}
		}
		all = all[n:]
	}
	return old, nil
}

// Reseal seals the records of those places that are mine anew, with the current key,
// where they are sealed with the previous one. Nothing else of them changes; see
// quorumdisk.Codec.Reseal. Nobody else may write to them meanwhile: a node's records
// are its own daemon's, and its beat its guard's. It says how many it has sealed. An
// error after a write is an UnsettledError.
func (v *Volume) Reseal(mine func(quorumdisk.Place) bool, timeout time.Duration) (int, error) {
	old, err := v.SealedBefore(timeout)
	if err != nil {
		return 0, err
	}
	done := 0
	for _, at := range old {
		if !mine(at) {
			continue
		}
		sector, back := make([]byte, v.layout.SectorSize), make([]byte, v.layout.SectorSize)
		if err := v.disk.Read(sector, at.Off, timeout); err != nil {
			return done, err
		}
		if !v.codec.Reseal(sector, at) {
			continue // written meanwhile
		}
		err := v.disk.Write(sector, at.Off, timeout)
		if err == nil {
			err = v.disk.Read(back, at.Off, timeout)
		}
		if err == nil && !bytes.Equal(back, sector) {
			err = errors.New("read back it differs from what was written: the device does not keep what it is given, or somebody else writes there")
		}
		if errors.Is(err, storage.ErrBusy) {
			return done, err // it was not issued
		}
		if err != nil {
			return done, &UnsettledError{at, err}
		}
		done++
	}
	return done, nil
}
