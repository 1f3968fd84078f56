// Package api is the local interface of holdfastd: versioned JSON over HTTP on a
// Unix socket, the types that daemon and command line share, the client of both,
// and the exchange by which a new node joins.
//
// Everything that the holdfast command shows or does goes through it, so a
// program can do the same with any HTTP client:
//
//	curl --unix-socket /run/holdfast/alpha/api.sock http://holdfast/v1/status
//
//	GET  /v1/status                    Status
//	GET  /v1/explain/service/{name}    Explanation
//	GET  /v1/explain/node/{name}       Explanation
//	GET  /v1/explain/event/{id}        Explanation
//	GET  /v1/timing                    Timing
//	GET  /v1/events?since=&kind=&service=&node=&follow=1   one Event per line
//	GET  /v1/doctor                    the report of holdfast doctor --local
//	GET  /v1/of/{node}/{what}          what another node's daemon answers: status, timing, events, doctor
//	GET  /v1/config?version=           Config; without a version the current one
//	GET  /v1/history                   []Version
//	POST /v1/config                    ApplyRequest -> Plan (dry_run) or Result
//	POST /v1/service/{name}/{verb}     ServiceRequest -> Result
//	POST /v1/node/{name}/{verb}        NodeRequest -> Result
//	POST /v1/alerts/test               AlertTest -> []AlertTried
//	POST /v1/leave                     Result at once; the daemon ends when this node has left
//	POST /v1/token                     TokenReply
//	GET  /v1/key                       KeyStatus
//	POST /v1/key                       KeyRequest -> KeyProgress
//
// Durations are numbers of seconds and their names end in _seconds; one that is
// not known is left out. Times are RFC 3339 by the wall clock and for people
// only: nothing is decided by them. Within version 1 fields are added, never
// renamed or removed. A failure is an Error with an HTTP status that fits it.
//
// Who may do what follows from the peer's user and groups, as the kernel
// vouches for them: read, operate (services, standby) or admin (the rest). Root
// is admin.
package api

// Version is the version of the interface: the number in its paths.
const Version = 1
