package statecodec

// The parts that the fuzz tests reach without the compressor.
var (
	Plain     = plainState
	ReadPlain = readState
)
