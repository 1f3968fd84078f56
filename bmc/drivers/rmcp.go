package drivers

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/bougou/go-ipmi/pkg/crypto"
	"github.com/bougou/go-ipmi/pkg/rmcpplus"
	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/holdfast-ha/holdfast/bmc"
)

// privilege is what a session asks for: enough to switch the power, and given
// to users that may not change the controller (IPMI 2.0, appendix G).
const privilege = types.PrivilegeLevelOperator

// How often and how long an answer is waited for: UDP loses datagrams, and a
// controller that is silent this long will stay so.
const (
	sendings   = 3
	answerTime = time.Second
)

// errSuite means that the controller does not offer a cipher suite, or did not
// answer to it: another one is worth a try.
var errSuite = errors.New("the controller does not offer this cipher suite")

// refusedError is a completion code other than success.
type refusedError struct {
	command types.Command
	code    uint8
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s: the controller answered %#02x, %s", e.command.Name, e.code, types.StrCC(e.command, e.code))
}

// session is one RMCP+ session (IPMI 2.0, chapter 13), authenticated and
// encrypted in both directions:
//
//	0     4                         16               16+n      ...         -m
//	| RMCP | 06 type id(4) seq(4) n(2) | iv, ciphertext | pad, its length, 07 | code |
//	       '---------------- what the code is made of (13.28.4) -------------'
//
// What does not have this form, or not the right code, is as if it had not
// arrived.
type session struct {
	conn         net.Conn
	integrity    types.IntegrityAlg
	k1, k2       []byte
	remote       uint32 // the controller's id of the session
	local        uint32 // ours
	sent, seen   uint32 // last sequence numbers
	conversation uint8  // last sequence number of a request, 6 bits
}

// keys is what the two sides agree on while logging in.
type keys struct {
	conn      net.Conn
	auth      types.AuthAlg
	integrity types.IntegrityAlg
	crypt     types.CryptAlg
	local     uint32
	remote    uint32
	random    [16]byte // ours
	theirs    rmcpplus.RAKPMessage2
	user      string
	secret    []byte
	role      uint8
}

// login opens a session: Open Session, then RAKP messages 1 to 4 (13.17 to
// 13.24). Both sides prove that they know the password.
func login(ctx context.Context, conn net.Conn, user string, password bmc.Secret, suite types.CipherSuiteID) (*session, error) {
	k := keys{conn: conn, user: user, secret: crypto.PadPassword20([]byte(password.Reveal()))}
	var ok bool
	if k.auth, k.integrity, k.crypt, ok = types.GetCipherSuiteAlgorithms(suite); !ok {
		return nil, fmt.Errorf("cipher suite %d is not known", suite)
	}
	var id [4]byte
	_, _ = rand.Read(id[:])
	_, _ = rand.Read(k.random[:])
	k.local = binary.LittleEndian.Uint32(id[:]) | 1 // 0 has a meaning of its own
	if err := k.open(ctx); err != nil {
		return nil, err
	}
	if err := k.first(ctx); err != nil {
		return nil, err
	}
	return k.second(ctx)
}

// open proposes the cipher suite and takes no other.
func (k *keys) open(ctx context.Context) error {
	request := rmcpplus.OpenSessionRequest{MessageTag: 1, RemoteConsoleSessionID: k.local}
	request.AuthenticationPayload, request.IntegrityPayload, request.ConfidentialityPayload = rmcpplus.NewAlgorithmPayloads(k.auth, k.integrity, k.crypt)
	var answer rmcpplus.OpenSessionResponse
	err := k.ask(ctx, types.PayloadTypeRmcpOpenSessionRequest, request.Pack(), func(p []byte) bool {
		return answer.Unpack(p) == nil && answer.MessageTag == 1 && answer.RemoteConsoleSessionID == k.local
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		return fmt.Errorf("%w: %w", errSuite, err)
	case err != nil:
		return err
	}
	switch answer.RmcpStatusCode {
	case types.RmcpStatusCodeNoErrors:
	case types.RmcpStatusCodeInvalidAuthAlg, types.RmcpStatusCodeInvalidIntegrityAlg, types.RmcpStatusCodeInvalidConfidentAlg, types.RmcpStatusCodeNoCipherSuiteMatch:
		return errSuite
	default:
		return fmt.Errorf("open session: %s", answer.RmcpStatusCode)
	}
	if types.AuthAlg(answer.AuthAlg) != k.auth || types.IntegrityAlg(answer.IntegrityAlg) != k.integrity || types.CryptAlg(answer.CryptAlg) != k.crypt {
		return fmt.Errorf("%w: it answered with a weaker one", errSuite)
	}
	k.remote = answer.ManagedSystemSessionID
	return nil
}

// first sends RAKP message 1 and checks message 2.
func (k *keys) first(ctx context.Context) error {
	request := rmcpplus.RAKPMessage1{
		MessageTag: 2, ManagedSystemSessionID: k.remote, RemoteConsoleRandomNumber: k.random,
		NameOnlyLookup: true, RequestedMaximumPrivilegeLevel: privilege,
		UsernameLength: uint8(len(k.user)), Username: []byte(k.user),
	}
	k.role = request.Role()
	k.theirs.AuthAlg = k.auth
	err := k.ask(ctx, types.PayloadTypeRAKPMessage1, request.Pack(), func(p []byte) bool {
		return k.theirs.Unpack(p) == nil && k.theirs.MessageTag == 2 && k.theirs.RemoteConsoleSessionID == k.local
	})
	if err != nil {
		return err
	}
	if k.theirs.RmcpStatusCode != types.RmcpStatusCodeNoErrors {
		return fmt.Errorf("user %q: %s", k.user, k.theirs.RmcpStatusCode)
	}
	code, err := crypto.RAKP2AuthCode(k.auth, k.local, k.remote, k.random[:], k.theirs.ManagedSystemRandomNumber[:], k.theirs.ManagedSystemGUID[:], k.role, k.user, k.secret)
	if err != nil {
		return err
	}
	if !hmac.Equal(code, k.theirs.KeyExchangeAuthenticationCode) {
		return fmt.Errorf("user %q: the controller does not know this password, or is not the right controller", k.user)
	}
	return nil
}

// second sends RAKP message 3 and checks message 4.
func (k *keys) second(ctx context.Context) (*session, error) {
	theirs := k.theirs.ManagedSystemRandomNumber[:]
	code, err := crypto.RAKP3AuthCode(k.auth, theirs, k.local, k.role, k.user, k.secret)
	if err != nil {
		return nil, err
	}
	request := rmcpplus.RAKPMessage3{MessageTag: 3, ManagedSystemSessionID: k.remote, KeyExchangeAuthenticationCode: code}
	answer := rmcpplus.RAKPMessage4{AuthAlg: k.auth}
	err = k.ask(ctx, types.PayloadTypeRAKPMessage3, request.Pack(), func(p []byte) bool {
		return answer.Unpack(p) == nil && answer.MessageTag == 3 && answer.MgmtConsoleSessionID == k.local
	})
	if err != nil {
		return nil, err
	}
	if answer.RmcpStatusCode != types.RmcpStatusCodeNoErrors {
		return nil, fmt.Errorf("user %q: %s", k.user, answer.RmcpStatusCode)
	}
	sik, k1, k2, err := crypto.DeriveSessionKeys(k.auth, k.random[:], theirs, k.role, k.user, k.secret)
	if err != nil {
		return nil, err
	}
	check, err := crypto.RAKP4ICV(k.auth, k.random[:], k.remote, k.theirs.ManagedSystemGUID[:], sik)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(check, answer.IntegrityCheckValue) {
		return nil, errors.New("the controller's last proof is wrong: it is not the one that answered before")
	}
	return &session{conn: k.conn, integrity: k.integrity, k1: k1, k2: k2, remote: k.remote, local: k.local}, nil
}

// ask exchanges one message of the login. The type of an answer is the one after
// that of its question (13.27.3).
func (k *keys) ask(ctx context.Context, question types.PayloadType, payload []byte, accept func([]byte) bool) error {
	packet := header(types.SessionHeader20{AuthType: types.AuthTypeRMCPPlus, PayloadType: question, PayloadLength: uint16(len(payload))})
	packet = append(packet, payload...)
	return exchange(ctx, k.conn, func() ([]byte, error) { return packet, nil }, func(got []byte) bool {
		body, ok := payloadOf(got)
		return ok && got[5] == byte(question)+1 && binary.LittleEndian.Uint32(got[6:10]) == 0 && accept(body)
	})
}

// exchange sends what build makes and returns when accept takes an answer.
// What accept does not take is waited over: datagrams come late, twice, and
// from others.
func exchange(ctx context.Context, conn net.Conn, build func() ([]byte, error), accept func([]byte) bool) error {
	buffer := make([]byte, 2048)
	var err error
	for range sendings {
		var packet []byte
		if packet, err = build(); err != nil {
			return err
		}
		// The deadline is set before ctx is looked at: whoever ends ctx sets a
		// deadline in the past afterwards.
		deadline := time.Now().Add(answerTime)
		if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
			deadline = end
		}
		if err = conn.SetDeadline(deadline); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err = conn.Write(packet); err != nil {
			return err
		}
		for {
			var n int
			if n, err = conn.Read(buffer); err != nil {
				break
			}
			if accept(buffer[:n]) {
				return nil
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return fmt.Errorf("no valid answer to %d requests: %w", sendings, err)
}

// offPayload is where the payload begins.
const offPayload = 16

// header makes the RMCP header (13.1.3) and the session header (13.6).
func header(h types.SessionHeader20) []byte {
	return append(types.NewRmcpHeader().Pack(), h.Pack()...)
}

// payloadOf gives the payload of a well-formed RMCP+ packet.
func payloadOf(p []byte) ([]byte, bool) {
	if len(p) < offPayload || p[0] != types.RmcpVersion || p[3] != types.MessageClassIPMI || p[4] != byte(types.AuthTypeRMCPPlus) {
		return nil, false
	}
	n := int(binary.LittleEndian.Uint16(p[14:16]))
	if len(p) < offPayload+n {
		return nil, false
	}
	return p[offPayload : offPayload+n], true
}

// response is an answer that can read itself.
type response interface{ Unpack([]byte) error }

// command runs one command; answer may be nil.
func (s *session) command(ctx context.Context, c types.Command, data []byte, answer response) error {
	var got types.IPMIResponse
	err := exchange(ctx, s.conn, func() ([]byte, error) { return s.seal(c, data) }, func(p []byte) bool { return s.unseal(p, c, &got) })
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	if got.CompletionCode != 0 {
		return &refusedError{command: c, code: got.CompletionCode}
	}
	if answer == nil {
		return nil
	}
	if err := answer.Unpack(got.Data); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return nil
}

// logout closes the session, so that it does not count against the controller's
// limit. Nobody waits for the answer: a session that stays open because the
// datagram was lost expires after a minute (6.12.15).
func (s *session) logout() {
	packet, err := s.seal(types.CommandCloseSession, binary.LittleEndian.AppendUint32(nil, s.remote))
	if err != nil || s.conn.SetDeadline(time.Now().Add(answerTime)) != nil {
		return
	}
	_, _ = s.conn.Write(packet)
}

// seal makes the packet of a request. Each sending has new sequence numbers:
// the controller drops what it saw before.
func (s *session) seal(c types.Command, data []byte) ([]byte, error) {
	s.sent++
	s.conversation = (s.conversation + 1) & 0x3f
	request := types.IPMIRequest{
		ResponderAddr: types.BMC_SA, NetFn: c.NetFn, RequesterAddr: types.RemoteConsole_SWID,
		RequesterSequence: s.conversation, Command: c.ID, CommandData: data,
	}
	request.ComputeChecksum()
	var iv [16]byte
	_, _ = rand.Read(iv[:])
	payload, err := crypto.EncryptAESPayload(request.Pack(), s.k2, iv[:])
	if err != nil {
		return nil, err
	}
	packet := header(types.SessionHeader20{
		AuthType: types.AuthTypeRMCPPlus, PayloadType: types.PayloadTypeIPMI, PayloadEncrypted: true, PayloadAuthenticated: true,
		SessionID: s.remote, Sequence: s.sent, PayloadLength: uint16(len(payload)),
	})
	packet = append(packet, payload...)
	pad := types.IntegrityPadLen(offPayload-4, len(payload))
	for range pad {
		packet = append(packet, 0xff)
	}
	packet = append(packet, byte(pad), 0x07)
	code, err := crypto.SessionIntegrityAuthCode(s.integrity, packet[4:], s.k1, "")
	return append(packet, code...), err
}

// unseal reads an answer and says whether it is the one to the last request of
// this session: right form, right session, newer than the last one, right code,
// right conversation.
func (s *session) unseal(p []byte, c types.Command, got *types.IPMIResponse) bool {
	payload, ok := payloadOf(p)
	const sealed = 0xc0 | byte(types.PayloadTypeIPMI)
	if !ok || p[5] != sealed || binary.LittleEndian.Uint32(p[6:10]) != s.local {
		return false
	}
	sequence := binary.LittleEndian.Uint32(p[10:14])
	length, ok := crypto.IntegrityAuthCodeLen(s.integrity)
	end := len(p) - length
	// At least the pad's length and the next header (07) stand between.
	if !ok || sequence <= s.seen || end < offPayload+len(payload)+2 || p[end-1] != 0x07 {
		return false
	}
	code, err := crypto.SessionIntegrityAuthCode(s.integrity, p[4:end], s.k1, "")
	if err != nil || !hmac.Equal(code, p[end:]) {
		return false
	}
	s.seen = sequence
	if len(payload) < 32 || len(payload)%16 != 0 { // an initialization vector and whole blocks
		return false
	}
	message, err := crypto.DecryptAESPayload(payload, s.k2)
	if err != nil || got.Unpack(message) != nil {
		return false
	}
	return got.RequesterSequence == s.conversation && got.Command == c.ID && got.NetFn == c.NetFn|1
}
