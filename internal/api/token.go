package api

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"time"
)

// tokenPrefix tells a token from anything else that was pasted, and its version.
const tokenPrefix = "hf1-"

const (
	secretSize  = 16
	fingerSize  = 32
	mostTargets = 8
)

// ErrToken says that a text is no join token.
var ErrToken = errors.New("not a join token")

// Token lets one new node join, once, within an hour. It is shown by init and by
// `holdfast token`, and carried to the new node by the administrator: whoever
// has it gets the cluster's key.
//
// As text it is "hf1-" and, in base64url without padding: 16 bytes secret, 32
// bytes SHA-256 of the join service's certificate (DER), one byte count, so many
// addresses as one byte length and text, 4 bytes CRC-32 (IEEE, big-endian) of all
// before, which tells a token that was cut off from one that is wrong.
type Token struct {
	Secret      [secretSize]byte
	Fingerprint [fingerSize]byte
	Addresses   []netip.AddrPort // of the join service, to be tried in order
}

// TokenReply is the answer to POST /v1/token.
type TokenReply struct {
	Version int       `json:"version"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	Valid   Seconds   `json:"valid_seconds"`
}

// String is the token as text. It is a secret.
func (t Token) String() string {
	b := append(append([]byte(nil), t.Secret[:]...), t.Fingerprint[:]...)
	b = append(b, byte(len(t.Addresses)))
	for _, a := range t.Addresses {
		b = append(append(b, byte(len(a.String()))), a.String()...)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads the text. Errors wrap ErrToken.
func ParseToken(text string) (Token, error) {
	var t Token
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	if !ok {
		return t, fmt.Errorf("%w: it does not begin with %s", ErrToken, tokenPrefix)
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || len(b) < secretSize+fingerSize+1+4 {
		return t, fmt.Errorf("%w: it is not whole; copy it again", ErrToken)
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return t, fmt.Errorf("%w: its checksum is wrong; copy it again", ErrToken)
	}
	copy(t.Secret[:], body)
	copy(t.Fingerprint[:], body[secretSize:])
	count, body := int(body[secretSize+fingerSize]), body[secretSize+fingerSize+1:]
	if count == 0 || count > mostTargets {
		return t, fmt.Errorf("%w: %d addresses, want 1 to %d", ErrToken, count, mostTargets)
	}
	for range count {
		if len(body) == 0 || len(body) < 1+int(body[0]) {
			return t, fmt.Errorf("%w: an address is cut off", ErrToken)
		}
		a, err := netip.ParseAddrPort(string(body[1 : 1+body[0]]))
		if err != nil {
			return t, fmt.Errorf("%w: %w", ErrToken, err)
		}
		t.Addresses, body = append(t.Addresses, a), body[1+body[0]:]
	}
	if len(body) != 0 {
		return t, fmt.Errorf("%w: text after its end", ErrToken)
	}
	return t, nil
}
