package quorumdisk

import "github.com/holdfast-ha/holdfast/cluster"

// The parts that the fuzz tests reach without compressor and seal.
var (
	PackState   = packState
	UnpackState = unpackState
	ParseKeys   = parseKeys
)

// BlobBody encodes a blob's body.
func BlobBody(b *cluster.Blob) []byte {
	var w writer
	w.blob(b)
	return w.b
}

// DecodeBlobBody decodes it as generation 0.
func DecodeBlobBody(body []byte) (*cluster.Blob, error) {
	b := &cluster.Blob{}
	return b, decodeBlob(body, b, 0)
}
