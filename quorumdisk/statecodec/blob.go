package statecodec

import (
	"fmt"
	"math"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

const (
	magicBlob = "HFB"

	// MaxPlainBlob bounds what the body of a blob may be once decompressed, in
	// bytes.
	MaxPlainBlob = 1 << 20

	minReleased = 4 + 8
	minRunState = 4 + 8 + 1 + 4
)

// EncodeBlob returns the body of a status blob: what was released, and the run
// states. Node, Inc and Gen stand in the blob's record. As in a state, texts are
// shortened before a blob does not fit. It fails with ErrValue (an unknown service
// state) or ErrTooLarge.
func EncodeBlob(b *cluster.Blob) ([]byte, error) {
	var p Packer
	defer p.close()
	return p.EncodeBlob(b)
}

// EncodeBlob is the function of that name.
func (p *Packer) EncodeBlob(b *cluster.Blob) ([]byte, error) {
	for _, s := range b.Services {
		if s.State > cluster.LastState {
			return nil, fmt.Errorf("status blob: %w: state %d of service %q", wire.ErrValue, s.State, s.Service)
		}
	}
	var plain, out []byte
	for _, most := range [...]int{math.MaxInt, 40, 0} {
		if plain = plainBlob(b, most); len(plain) > MaxPlainBlob {
			continue
		}
		var err error
		if out, err = p.pack(magicBlob, Format1, plain); err != nil {
			return nil, fmt.Errorf("status blob: %w", err)
		}
		if len(out) <= quorumdisk.MostBlob {
			return out, nil
		}
	}
	return nil, fmt.Errorf("status blob: %w: %d released terms and %d services take %d KiB, compressed at most %d KiB: fewer services on a node, or shorter names",
		quorumdisk.ErrTooLarge, len(b.Released), len(b.Services), (len(plain)+1023)>>10, quorumdisk.MostBlob>>10)
}

func plainBlob(b *cluster.Blob, most int) []byte {
	var w wire.Writer
	w.Count(len(b.Released))
	for _, r := range b.Released {
		w.Text(r.Service)
		w.U64(r.Term)
	}
	w.Count(len(b.Services))
	for _, s := range b.Services {
		w.Text(s.Service)
		w.U64(s.Term)
		w.U8(uint8(s.State))
		w.Text(cut(s.Text, most))
	}
	return w.B
}

// DecodeBlob is the inverse of EncodeBlob: it returns a blob without Node, Inc
// and Gen. It needs at most MaxPlainBlob bytes whatever it is given. It fails with
// ErrMagic, ErrFormat, ErrTooLarge, ErrLength or ErrValue.
func DecodeBlob(body []byte) (*cluster.Blob, error) {
	plain, err := unpack(magicBlob, body, quorumdisk.MostBlob, MaxPlainBlob)
	if err != nil {
		return nil, fmt.Errorf("status blob: %w", err)
	}
	return readBlob(plain)
}

func readBlob(plain []byte) (*cluster.Blob, error) {
	b, r := &cluster.Blob{}, wire.NewReader(plain)
	for range r.Count(minReleased) {
		b.Released = append(b.Released, cluster.Released{Service: r.Text(), Term: r.U64()})
	}
	for range r.Count(minRunState) {
		b.Services = append(b.Services, cluster.RunState{
			Service: r.Text(), Term: r.U64(),
			State: cluster.ServiceState(r.OneOf("service state", uint8(cluster.LastState))),
			Text:  r.Text(),
		})
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("status blob: %w", err)
	}
	return b, nil
}
