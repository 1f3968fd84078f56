package witness

import (
	"bytes"
	"errors"
	"testing"
)

func TestBlocks(t *testing.T) {
	ring := make([]byte, Slots*Size)
	for n := uint64(1); n <= 300; n++ {
		Block{Owner: uint32(1 + n/200), Number: n}.Encode(ring[n%Slots*Size:][:Size])
	}
	all, err := Look(bytes.NewReader(ring), 0)
	if err != nil || Newest(all, 1) != 199 || Newest(all, 2) != 300 || Newest(all, 3) != 0 {
		t.Errorf("%v: %d, %d, %d", err, Newest(all, 1), Newest(all, 2), Newest(all, 3))
	}
	copy(ring[Size/2:Size], ring[5*Size+Size/2:]) // the second half of another block
	if _, err := Look(bytes.NewReader(ring), 0); !errors.Is(err, ErrTorn) {
		t.Errorf("half of one and half of another: %v", err)
	}
	if all, err := Look(bytes.NewReader(make([]byte, 2*Slots*Size)), 1); err != nil || all[0].Number != 0 {
		t.Errorf("an empty disk: %v", err)
	}
}
