package cluster

import (
	"math"
	"slices"
	"time"
)

// Config is the cluster's configuration after parsing and validation. Its truth
// is the admin's YAML inside State.Config; the shell parses that whenever it
// decodes a state, so that the core never sees text. Names are sorted.
type Config struct {
	Name           string
	FailoverWithin time.Duration // from the fault to the permission to start elsewhere
	KeepOnDiskLoss bool          // on_disk_loss: keep
	Grace          time.Duration // on_disk_loss: stop after this; 0: no network grace at all
	Evict          bool          // partition: evict
	Quarantine     FlapRule
	Services       []Service // sorted by Name
	Fencing        []Ways    // sorted by Node
	PowerOn        bool      // a node that was fenced by its power gets it back
	Offers         []Offer   // sorted by Node
}

// Offer is what a node has for services, as far as the configuration says.
type Offer struct {
	Node string
	Has  []Amount // sorted by Name
}

// Amount is so much of something that the services on a node share: bytes of
// memory, cores, whatever the admin counts.
type Amount struct {
	Name  string
	Value int64
}

// Ways lists how one node may be fenced, beside the time proof that always runs.
type Ways struct {
	Node string
	Ways []Way
}

// Way is one fencing way: "disk", "reservation", "bmc", an external agent, or
// several power switches that feed the node together.
type Way struct {
	Kind  string
	Agent string            // for Kind "agent"
	With  map[string]string // for Kind "agent"
	All   []Way             // for Kind "all": each of kind bmc or agent
}

// Service is the unit of takeover: an ordered stack of resources and the rules
// that say where it may run.
type Service struct {
	Name      string
	Prefer    []string // node names in order of preference
	Only      []string // nothing else may run it
	Never     []string
	Failback  Failback
	Priority  int
	After     []string // services that must run first
	With      []string // always on the same node
	ApartFrom []string // never on the same node
	Restarts  Budget
	QuickStop bool     // begin the emergency stop while the lease is merely overdue
	Needs     []Amount // of what nodes offer; sorted by Name
	Patience  Patience
	Copy      Copy
	Stack     []Member
}

// MostCopies is how many copies a service has at most.
const MostCopies = 32

// Copy says of which service this is a copy. Every copy is a service of its own,
// with its own grants, and is apart from the others. The zero value is none.
type Copy struct {
	Of         string // name of the service in the configuration
	Number     int    // from 1 on
	Everywhere bool   // there are as many as nodes that may run it
}

// CopyName is the name of a copy of a service.
func CopyName(of string, number int) string { return of + "@" + itoa(uint64(number)) }

// Patience is how much trouble with a service is borne before something is done.
type Patience struct {
	Fails int           // so many of the latest checks have to fail; 0: one
	Of    int           // of so many
	Stop  time.Duration // for how long a stop that failed is tried again before the node is fenced
}

// FailbackMode says whether a service returns to a more preferred node.
type FailbackMode uint8

// Manual is the default: a service stays where it runs until somebody moves it.
const (
	Manual FailbackMode = iota
	Automatic
)

// Failback is the mode and, for Automatic, how long the better node must have
// been a healthy member first.
type Failback struct {
	Mode  FailbackMode
	After time.Duration
}

// Budget is how many failures a node may have within a window before a service
// moves away. The zero value means: move at the first failure.
type Budget struct {
	Count  int
	Within time.Duration
}

// Member is one resource of a stack. Spec is opaque to the core (JSON for the
// runner). Zero timeouts mean the kind's defaults.
type Member struct {
	ID         string // unique in its service: kind, or kind-2 and so on
	Kind       string
	Spec       []byte
	Reloads    bool          // it may be able to take over new settings while it runs
	Storage    bool          // iscsi, lvm, filesystem: may start on a reservation proof
	Guarded    bool          // its LUNs are guarded by persistent reservations
	Live       bool          // a move hands it over as it runs, if it can
	Sole       string        // what of it only one node may use at a time, as "filesystem /dev/vg/data"; empty: nothing
	Start      time.Duration // timeouts
	Stop       time.Duration
	Check      time.Duration
	CheckEvery time.Duration
}

// NetworkGrace is G: for how long a node without quorum disks may go on while
// every other member consents. With on_disk_loss: keep it is without limit.
func (c *Config) NetworkGrace() time.Duration {
	if c.KeepOnDiskLoss {
		return math.MaxInt64
	}
	return c.Grace
}

// Service returns the configuration of a service by name; there is none where the configuration could not be read.
func (c *Config) Service(name string) (*Service, bool) {
	if c == nil {
		return nil, false
	}
	from, to := 0, len(c.Services) // a search written out: every step makes several for each service
	for from < to {
		if mid := (from + to) / 2; c.Services[mid].Name < name {
			from = mid + 1
		} else {
			to = mid
		}
	}
	if from == len(c.Services) || c.Services[from].Name != name {
		return nil, false
	}
	return &c.Services[from], true
}

// Copies lists the services that are meant by a name: the service itself, or all of
// its copies, or nothing.
func (c *Config) Copies(name string) []string {
	if _, ok := c.Service(name); ok || c == nil {
		return []string{name}
	}
	var list []string
	for i := range c.Services {
		if c.Services[i].Copy.Of == name {
			list = append(list, c.Services[i].Name)
		}
	}
	return list
}

// Family is the name by which the configuration knows a service, and all its copies.
func (s *Service) Family() string {
	if s.Copy.Of != "" {
		return s.Copy.Of
	}
	return s.Name
}

// Allows says that its own lists let a service run on a node.
func (s *Service) Allows(node string) bool {
	return !slices.Contains(s.Never, node) && (len(s.Only) == 0 || slices.Contains(s.Only, node))
}

// OffersOf is what a node has for services; nothing where that is not configured.
func (c *Config) OffersOf(node string) []Amount {
	for i := range c.Offers {
		if c.Offers[i].Node == node {
			return c.Offers[i].Has
		}
	}
	return nil
}

// Guarded says that persistent reservations guard all storage of the service,
// and that it begins with storage: then a proof that covers the storage alone
// lets that part start elsewhere.
func (s *Service) Guarded() bool {
	for i := range s.Stack {
		if m := &s.Stack[i]; m.Storage && !m.Guarded {
			return false
		}
	}
	return len(s.Stack) > 0 && s.Stack[0].Storage
}

// Soles lists what only one node may use at a time, of all its members.
func (s *Service) Soles() []string {
	var list []string
	for i := range s.Stack {
		if x := s.Stack[i].Sole; x != "" {
			list = append(list, x)
		}
	}
	return list
}

// CheckEvery is the shortest period between two checks of the service's members.
func (s *Service) CheckEvery() time.Duration {
	least := 10 * time.Second
	for i := range s.Stack {
		if e := s.Stack[i].CheckEvery; e > 0 && e < least {
			least = e
		}
	}
	return least
}
