package cluster

import "fmt"

// Warning is what an administrator should know of a node's watchdogs though
// nothing has failed yet; empty if nothing.
func (n *NodeView) Warning() string {
	if n.Phase == Out {
		return ""
	}
	switch n.Lease.Class {
	case WatchdogNone:
		return fmt.Sprintf("%s has no watchdog: it can never be proven dead by time", n.Name)
	case WatchdogSoftOnly:
		return fmt.Sprintf("%s has only softdog: takeover by lease is refused", n.Name)
	case WatchdogSoftAccepted:
		return fmt.Sprintf("%s has only softdog: takeover by lease is weak", n.Name)
	case WatchdogUnqualified:
		return fmt.Sprintf("%s: its watchdogs are not qualified, the wait is longer than it could be", n.Name)
	}
	return ""
}
