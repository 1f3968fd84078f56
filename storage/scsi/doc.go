// Package scsi is for SCSI-3 persistent reservations: register a key for this node, reserve a disk for registrants, preempt
// another node's key and abort its commands, and read keys and reservation back.
//
// A disk that refuses the writes of a preempted key is the strongest guard a service can have, because it works without
// the cooperation of the node that lost. The requests are those of SCSI Primary Commands (SPC-4, PERSISTENT RESERVE IN and
// PERSISTENT RESERVE OUT), sent by SG_IO, each with a time limit, and each followed by reading back, since targets and
// multipath layers are known to answer "good" and do nothing.
//
// An NVMe namespace is spoken to by the block layer's reservation ioctls (<linux/pr.h>) and Reservation Report, behind the
// same Path, and answers with the same bytes; plain device-mapper volumes are refused.
//
// Package scsitest is a target that gives and takes the same bytes and can be told to misbehave.
package scsi
