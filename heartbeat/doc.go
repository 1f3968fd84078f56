// Package heartbeat carries the network beats between nodes: every node sends
// its message to every other over two or more links, each a UDP port of its own
// bound to an address of its own. The network only makes things faster; what is
// decided rests on the quorum disks. So a lost, late or repeated packet costs
// nothing, and nothing here waits, retries or acknowledges.
//
// A packet is encrypted and authenticated with AES-256-GCM. The key is derived
// from the cluster key and the cluster's identity, separately for each sender,
// receiver and life of the sending daemon (HKDF-SHA256, RFC 5869), so that random
// nonces (NIST SP 800-38D, 8.2.2) never come near their limit. Two cluster keys
// are valid while one replaces the other.
//
// # Packet
//
// All numbers are little-endian. Bytes 0 to 55 are readable and authenticated,
// the rest is encrypted.
//
//	 0 ┌──────────────────────┐
//	   │ magic "HFBT"         │
//	 4 ├──────────────────────┤
//	   │ version (1)          │
//	 5 ├──────────────────────┤
//	   │ sender, receiver,    │ a packet for one node is not accepted by another,
//	   │ link                 │ nor on another link
//	 8 ├──────────────────────┤
//	   │ cluster UUID         │ two clusters on one network stay apart
//	24 ├──────────────────────┤
//	   │ boot identity        │ a beat of a former boot is not a sign of life
//	40 ├──────────────────────┤
//	   │ life                 │ now() at the start of the sending daemon: a former
//	   │                      │ life of the same boot neither
//	48 ├──────────────────────┤
//	   │ counter              │ from 1 for each life, receiver and link: no replay
//	56 ├──────────────────────┤
//	   │ nonce, 12 bytes      │
//	68 ├──────────────────────┤
//	   │ incarnation number   │ encrypted from here
//	   │ message number       │ from 1 for each life and receiver
//	   │ sent at (now(), ns)  │
//	   │ part, parts          │
//	90 ├──────────────────────┤
//	   │ part of the message  │ at most 1094 bytes
//	   ├──────────────────────┤
//	   │ tag, 16 bytes        │
//	   └──────────────────────┘
//
// # Replay
//
// For each sender a receiver knows the current boot and life, and for each link
// which of the latest 64 counters it has seen. A newer life of the same boot
// supersedes the older; another boot supersedes the current one unless it was
// superseded itself, or has a lower incarnation number than was seen. One that was
// superseded comes back only when nothing was heard of the current one for ten
// seconds: two machines that have one identity look like that, when the later of
// them goes away. Its counters are noted meanwhile, so that no recorded packet brings
// it back. A receiver
// that has just started can be shown recorded packets of a former boot until it
// hears the sender itself. That is harmless: what a message says is a sender's
// word about one incarnation of itself, and stays true; a recorded sign of life can
// delay a takeover, never cause one.
package heartbeat
