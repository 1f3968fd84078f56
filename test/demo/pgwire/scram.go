package pgwire

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scram is the client's side of SCRAM-SHA-256 without channel binding.
type scram struct {
	password string
	bare     string // client-first-message-bare
	server   []byte // what the server has to prove with
}

// The authentication requests of the server.
const (
	authOK       = 0
	authSASL     = 10
	authContinue = 11
	authFinal    = 12
)

// next answers an authentication request; nil: it wants no answer.
func (s *scram) next(body []byte) ([]byte, error) {
	if len(body) < 4 {
		return nil, errors.New("an authentication request without a kind")
	}
	kind, data := binary.BigEndian.Uint32(body), body[4:]
	switch kind {
	case authOK:
		return nil, nil
	case authSASL:
		if !bytes.Contains(data, []byte("SCRAM-SHA-256\x00")) {
			return nil, fmt.Errorf("the server offers %q, not SCRAM-SHA-256", data)
		}
		s.bare = "n=,r=" + rand.Text()
		first := "n,," + s.bare
		out := append([]byte("SCRAM-SHA-256\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(first)))...)
		return append(out, first...), nil
	case authContinue:
		return s.prove(string(data))
	case authFinal:
		if v, ok := strings.CutPrefix(string(data), "v="); !ok || v != base64.StdEncoding.EncodeToString(s.server) {
			return nil, errors.New("the server does not know the password")
		}
		return nil, nil
	}
	return nil, fmt.Errorf("the server wants authentication of kind %d: put scram-sha-256 in pg_hba.conf", kind)
}

// prove answers the server's first message, r=NONCE,s=SALT,i=COUNT.
func (s *scram) prove(first string) ([]byte, error) {
	parts := map[string]string{}
	for part := range strings.SplitSeq(first, ",") {
		key, value, _ := strings.Cut(part, "=")
		parts[key] = value
	}
	salt, err := base64.StdEncoding.DecodeString(parts["s"])
	if err != nil {
		return nil, fmt.Errorf("the server's salt: %w", err)
	}
	count, err := strconv.Atoi(parts["i"])
	if err != nil || !strings.HasPrefix("n=,r="+parts["r"], s.bare) {
		return nil, fmt.Errorf("the server's first message is %q", first)
	}
	salted, err := pbkdf2.Key(sha256.New, s.password, salt, count, sha256.Size)
	if err != nil {
		return nil, err
	}
	last := "c=biws,r=" + parts["r"]
	signed := s.bare + "," + first + "," + last
	key := sum(salted, "Client Key")
	stored := sha256.Sum256(key)
	for i, b := range sum(stored[:], signed) {
		key[i] ^= b
	}
	s.server = sum(sum(salted, "Server Key"), signed)
	return []byte(last + ",p=" + base64.StdEncoding.EncodeToString(key)), nil
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
