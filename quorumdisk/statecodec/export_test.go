package statecodec

import (
	"math"

	"github.com/holdfast-ha/holdfast/cluster"
)

// The parts that the fuzz tests reach without the compressor.
var (
	Plain     = plainState
	ReadPlain = readState
	ReadBlob  = readBlob
)

// PlainBlob is a blob with its texts as they are.
func PlainBlob(b *cluster.Blob) []byte { return plainBlob(b, math.MaxInt) }
