// Package bmc is for switching the power of a node off and on through its management controller, from another node.
//
// It answers three questions about a machine: is its power on, off or unknown; was it switched off; and what counts as
// confirmation. The last one is why the package exists: a controller that reports success has not proved anything. A node
// counts as fenced by its controller only when the state "off" was read twice, in separate sessions, after the request,
// and "timed out" stays unknown. The ways are Redfish, IPMI, and external fence agents with their established command line;
// all of them are to implement one small interface and pass one conformance suite, with fakes that lie, hang and answer
// garbage in bmctest.
//
// The package does not act yet: nothing imports it, and a node is fenced by its quorum disk and its watchdog alone.
package bmc
