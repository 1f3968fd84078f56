// Package label puts a quorum disk into a partition of its own. A bare quorum
// disk looks empty to every tool but Holdfast's, and somebody may take it for
// free; a GPT with one partition of Holdfast's type and the cluster's name is
// what installers, partitioners and lsblk show and leave alone.
//
// It makes such tables and mends them; package place finds the partition, and
// with it the quorum disk. A table is written once, through the page cache, and
// mended with direct I/O, by a plan that can be looked at before.
package label

import (
	"errors"
	"strings"
	"unicode/utf16"
)

// Start is where Create lets the partition begin, and its end is a multiple of
// it, in bytes: what arrays and partitioners align to.
const Start = 1 << 20

// namePrefix stands before the cluster's name in the name of the partition.
const namePrefix = "quorum:"

// maxName is the longest name of a partition in UTF-16 units.
const maxName = 36

// Why no partition could be made.
var (
	ErrPartitioned = errors.New("the device is partitioned already")
	ErrNotEmpty    = errors.New("the device is not empty")
	ErrInUse       = errors.New("the device is in use")
	ErrUnsuitable  = errors.New("the device cannot carry a partition table")
)

// partitionName is what a partitioner shows for a cluster.
func partitionName(cluster string) string {
	name := strings.ToValidUTF8(namePrefix+cluster, "?")
	for len(utf16.Encode([]rune(name))) > maxName {
		r := []rune(name)
		name = string(r[:len(r)-1])
	}
	return name
}
