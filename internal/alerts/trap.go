package alerts

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/internal/config"
)

// The object identifiers of a trap. Below the playpen of Net-SNMP, which is there for
// everybody (NET-SNMP-MIB, netSnmpPlaypen), for Holdfast has no number of its own:
// .1 the notification, .2.1 to .2.7 what it carries.
func playpen(below ...uint32) []uint32 {
	return append([]uint32{1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 7320}, below...)
}

// The types of ASN.1 and SNMP (RFC 2578, RFC 3416) that a trap is made of.
const (
	tagInteger  = 0x02
	tagOctets   = 0x04
	tagOID      = 0x06
	tagSequence = 0x30
	tagTicks    = 0x43
	tagTrap     = 0xa7
)

// mostTrapText keeps a trap within one packet, bytes of each text.
const mostTrapText = 300

// trap sends a notification of SNMP version 2c (RFC 3416, 4.2.6). Nobody answers one.
func trap(ctx context.Context, r *config.Trap, a *Alert) error {
	community := "public"
	if r.CommunityFile != "" {
		secret, err := bmc.ReadSecret(r.CommunityFile)
		if err != nil {
			return err
		}
		community = secret.Reveal()
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", r.To)
	if err != nil {
		return err
	}
	_, err = conn.Write(encodeTrap(community, a))
	return errors.Join(err, conn.Close())
}

// encodeTrap is the packet.
func encodeTrap(community string, a *Alert) []byte {
	short := func(s string) []byte { return []byte(strings.ToValidUTF8(s[:min(len(s), mostTrapText)], "")) }
	variables := [][]byte{
		bind([]uint32{1, 3, 6, 1, 2, 1, 1, 3, 0}, ber(tagTicks, number(uint64(a.Time.UnixMilli()/10)&0x7fffffff))), // sysUpTime.0
		bind([]uint32{1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0}, ber(tagOID, oid(playpen(1)))),                              // snmpTrapOID.0
	}
	for i, text := range []string{a.Cluster, a.Level, a.Title, strings.Join(a.Text, " "), strings.Join(a.Next, "; "), a.Key, a.Proof} {
		variables = append(variables, bind(playpen(2, uint32(i+1)), ber(tagOctets, short(text))))
	}
	request := number(uint64(time.Now().UnixNano()) & 0x7fffffff)
	pdu := ber(tagTrap, ber(tagInteger, request), ber(tagInteger, number(0)), ber(tagInteger, number(0)), ber(tagSequence, variables...))
	return ber(tagSequence, ber(tagInteger, number(1)), ber(tagOctets, []byte(community)), pdu)
}

func bind(name []uint32, value []byte) []byte { return ber(tagSequence, ber(tagOID, oid(name)), value) }

// ber is one value with its tag and length (X.690, 8.1).
func ber(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := []byte{tag}
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	default: // less than 64 KiB: it is one packet
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// number is a number that is not negative, in as few bytes as hold it and a sign.
func number(v uint64) []byte {
	out := []byte{byte(v)}
	for v >>= 8; v > 0; v >>= 8 {
		out = append([]byte{byte(v)}, out...)
	}
	if out[0]&0x80 != 0 {
		out = append([]byte{0}, out...)
	}
	return out
}

// oid is an object identifier, whose first two numbers share a byte (X.690, 8.19).
func oid(of []uint32) []byte {
	out := []byte{byte(of[0]*40 + of[1])}
	for _, n := range of[2:] {
		digits := []byte{byte(n & 0x7f)}
		for n >>= 7; n > 0; n >>= 7 {
			digits = append([]byte{byte(n&0x7f) | 0x80}, digits...)
		}
		out = append(out, digits...)
	}
	return out
}
