package api

import (
	"context"
	"time"
)

// What a KeyStep has one node do, in the order of an exchange of keys.
const (
	KeyTell     = ""         // nothing: only say how it stands
	KeyApply    = "apply"    // use the keys of the key file: a daemon that has restarted may not know what its guard uses
	KeyAccept   = "accept"   // open what is sealed with the new key
	KeyWithdraw = "withdraw" // forget a new key with which nothing was sealed
	KeyUse      = "use"      // seal with the new key, and open what is sealed with the old one
	KeyReseal   = "reseal"   // seal what this node has on the disks with the new key
	KeyForget   = "forget"   // open nothing that is sealed with the old key
)

// What one daemon asks another one about keys, which nobody else can ask.
const (
	KeyStepPath = "/v1/key/step" // KeyStep -> KeyNode
	KeyLeadPath = "/v1/key/lead" // KeyRequest -> KeyProgress
)

// Stages of an exchange of keys.
const (
	KeySettled  = "settled"  // every node has one key, the same
	KeyOffering = "offering" // the nodes get the new key; all seal with the old one
	KeyTurning  = "turning"  // all accept both, and go over to the new one
	KeySettling = "settling" // all seal with the new one; the disks are sealed anew, then the old one is forgotten
	KeyOdd      = "odd"      // the nodes have keys that fit no exchange
)

// KeyNode is how one node stands. Keys appear as fingerprints: 12 hexadecimal digits
// which tell them apart, and nothing else of them.
type KeyNode struct {
	Node    string    `json:"node"`
	Seals   string    `json:"seals"`             // the key that it seals with
	Accepts string    `json:"accepts,omitempty"` // the other one that it opens with
	New     string    `json:"new,omitempty"`     // with which of them the exchange ends
	Since   time.Time `json:"since"`             // when its key file was written, by its clock
	Applied bool      `json:"applied"`           // its daemon and its guard use what its file says
	// Wait is for how long yet something that was sealed with the old key may land on a disk.
	Wait  Seconds `json:"wait_seconds,omitempty"`
	Error string  `json:"error,omitempty"` // why it does not answer, or could not do what it was asked
}

// KeyDisk is a quorum disk and what on it is sealed with the old key.
type KeyDisk struct {
	Disk  int      `json:"disk"` // from 1
	Path  string   `json:"path"`
	Old   int      `json:"old"`             // records
	Where []string `json:"where,omitempty"` // some of them
	Error string   `json:"error,omitempty"` // it cannot be read
}

// KeyStatus is how the exchange of keys stands.
type KeyStatus struct {
	Version int       `json:"version"`
	Stage   string    `json:"stage"`
	Key     string    `json:"key"`           // the cluster's key; while keys are exchanged the old one
	New     string    `json:"new,omitempty"` // the new one
	Leader  string    `json:"leader"`        // the node whose daemon leads an exchange
	Nodes   []KeyNode `json:"nodes"`
	Disks   []KeyDisk `json:"disks"`
}

// KeyRequest asks for the next step of an exchange.
type KeyRequest struct {
	Begin  bool `json:"begin"` // begin one if none is under way
	DryRun bool `json:"dry_run,omitempty"`
}

// KeyProgress is what became of it.
type KeyProgress struct {
	Version int       `json:"version"`
	Done    bool      `json:"done"`
	Did     []string  `json:"did"`                    // or, of a dry run, what would be done
	Waits   string    `json:"waits,omitempty"`        // what the next step waits for
	Left    Seconds   `json:"left_seconds,omitempty"` // and for how long at most, where that is known
	Status  KeyStatus `json:"status"`
}

// KeyStep is what the leader's daemon has another one do; it travels between daemons
// alone. Whoever may send it has the cluster's key.
type KeyStep struct {
	Leader string `json:"leader"`
	Do     string `json:"do"`
	New    string `json:"new"`           // fingerprint
	Secret string `json:"key,omitempty"` // for KeyAccept: the key itself, 64 hexadecimal digits
}

// Keys asks how the exchange of keys stands.
func (c *Client) Keys(ctx context.Context) (*KeyStatus, error) {
	return get[KeyStatus](ctx, c, "/v1/key", nil)
}

// RotateKey takes the next step of an exchange of keys.
func (c *Client) RotateKey(ctx context.Context, r KeyRequest) (*KeyProgress, error) {
	return post[KeyProgress](ctx, c, "/v1/key", r)
}
