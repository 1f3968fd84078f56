package statecodec

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

// A body is a magic of 3 bytes, its format, and one zstd frame.
const (
	magicSize = 3
	window    = 1 << 20 // bytes that the compressor looks back: the names in a grant stand in the configuration before it
)

// Packer encodes bodies one after the other and keeps the tables of its
// compressor, about a megabyte, from one to the next: Encode and EncodeBlob, which
// make their own, spend most of their time on that. The zero value is ready; it is
// used by one goroutine. What it gives does not depend on what it encoded before.
type Packer struct {
	z *zstd.Encoder
}

// pack compresses plain behind magic and format.
func (p *Packer) pack(magic string, f Format, plain []byte) ([]byte, error) {
	if p.z == nil {
		var err error
		if p.z, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true)); err != nil {
			return nil, err
		}
	}
	return p.z.EncodeAll(plain, append([]byte(magic), byte(f))), nil
}

// close gives the compressor's memory back at once; nothing is buffered.
func (p *Packer) close() {
	if p.z != nil {
		_ = p.z.Close()
	}
}

// unpack is the inverse. It takes at most most bytes of body, and gives back
// memory of at most mostPlain bytes whatever the body says.
func unpack(magic string, body []byte, most, mostPlain int) ([]byte, error) {
	if len(body) > most {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", quorumdisk.ErrTooLarge, len(body), most)
	}
	if len(body) < magicSize+1 || string(body[:magicSize]) != magic {
		return nil, quorumdisk.ErrMagic
	}
	if err := quorumdisk.CheckFormat(quorumdisk.Format(body[magicSize]), quorumdisk.Format(Newest)); err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(mostPlain)),
		zstd.WithDecoderMaxWindow(MaxPlain))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	plain, err := z.DecodeAll(body[magicSize+1:], nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, fmt.Errorf("%w: more than %d KiB when decompressed", quorumdisk.ErrTooLarge, mostPlain>>10)
	case err != nil:
		return nil, fmt.Errorf("%w: decompressing: %w", wire.ErrValue, err)
	}
	return plain, nil
}
