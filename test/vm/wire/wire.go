// Package wire is what the rig and the agent inside a machine say to each other: lines of JSON over a serial line of the
// machine, which works when every network card is cut. The rig asks, the agent answers each request once; of itself it says
// that the machine has booted, and that a program it had started has ended.
package wire

import "time"

// The ports of a machine's virtio-serial device, by name.
const (
	Control = "holdfast.control" // requests and answers
	Log     = "holdfast.log"     // what started programs print, each line behind the program's name
)

// Op is what is asked for.
type Op string

// The operations. Args[0] is always what it is done to.
const (
	Run     Op = "run"     // run Args to its end; Output has both outputs, Code the exit status
	Start   Op = "start"   // start Args[1:] under the name Args[0]; its end is an event
	Signal  Op = "signal"  // send signal number Code to the process group of the started program Args[0]
	Tell    Op = "tell"    // write Data to the standard input of the started program Args[0]
	Write   Op = "write"   // write Data to the file Args[0], in one write if it exists, else with Mode
	Read    Op = "read"    // Output is the file Args[0]
	Put     Op = "put"     // write Data to the disk Args[0] at Offset, past the cache of the kernel; both in whole sectors
	Get     Op = "get"     // Output are Length bytes of the disk Args[0] at Offset, likewise
	Mkdir   Op = "mkdir"   // make the folders Args, with all above them
	Symlink Op = "symlink" // make Args[1] a link to Args[0]
	Mount   Op = "mount"   // mount a file system of the kind Args[0] at Args[1], from the disk Args[2] if it has one
	Module  Op = "module"  // load module Args[0] with parameters Args[1:]
)

// Request is one request. Timeout bounds it inside the machine; zero is a minute.
type Request struct {
	ID      uint64        `json:"id"`
	Op      Op            `json:"op"`
	Args    []string      `json:"args"`
	Env     []string      `json:"env,omitempty"`
	Data    []byte        `json:"data,omitempty"`
	Mode    uint32        `json:"mode,omitempty"`
	Code    int           `json:"code,omitempty"`
	Offset  int64         `json:"offset,omitempty"` // bytes
	Length  int           `json:"length,omitempty"` // bytes
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Events, which answer no request.
const (
	Ready = "ready" // the machine has booted; Output is its boot_id
	Ended = "ended" // the started program Name has ended with Code
)

// Answer answers the request with its ID, or is an event. Error is empty where it was done.
type Answer struct {
	ID     uint64 `json:"id,omitempty"`
	Event  string `json:"event,omitempty"`
	Name   string `json:"name,omitempty"`
	Output []byte `json:"output,omitempty"`
	Code   int    `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
}

// The kernel's command line tells init what to do; names with a dot are left alone by the kernel and by u-root.
const (
	ModulesFlag = "holdfast.modules" // modules to load, separated by commas
	NetFlag     = "holdfast.net"     // addresses with prefix length for eth0, eth1 and so on, separated by commas
	NameFlag    = "holdfast.name"    // the host name
	RootFlag    = "holdfast.root"    // the serial number of the disk with a whole system that is to be started; none: init stays
)
