package services

import "github.com/holdfast-ha/holdfast/cluster"

// SameStack is how many members, from the bottom on, two services have in common:
// those stay up when the one takes the place of the other.
func SameStack(a, b *cluster.Service) int { return sameStack(a, b) }

// SameMembers says that two services differ in settings of their members alone: then
// these are asked to take them over before anything is restarted.
func SameMembers(a, b *cluster.Service) bool { return sameMembers(a, b) }
