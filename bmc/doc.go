// Package bmc switches the power of a machine off and on through its management
// controller, from another machine, and says when "off" is certain.
//
// A controller that reports success has proved nothing: it may have accepted
// the request only, speak for another machine, answer from a cache, or have
// lost its own power together with the machine. So there are three answers, On,
// Off and Unknown, and every doubt is Unknown: no answer, an answer in other
// words than the expected ones, an answer about another machine, an answer that
// came too late. Confirm asks for "off" and believes it only after two exact
// readings, in two sessions, both begun after the request.
//
// The ways, one per Reference:
//
//   - redfish: the Redfish service of a controller, through bmclib's gofish
//     driver, over TLS that is verified or pinned;
//   - ipmi: IPMI 2.0 over the network, through bmclib's ipmitool driver, or,
//     where ipmitool is not installed, with a session of our own (driver=go);
//   - agent: an external fence agent (fence_*), for everything else that cuts
//     power: hypervisors, switched outlets, clouds.
//
// They are in package drivers, whose Open makes a Switch from a Reference, and
// pass the suite in package bmctest, which also has controllers that lie, hang,
// die with their machine or answer garbage. Whatever a driver does, a call ends
// with its context, and at most one call at a time is inside the driver.
//
// The package knows no cluster. What it leaves to its caller: to ask only when
// it may (a machine that is switched off without need is an outage), to know
// who the machine is (Options.Expect; drivers.InBand reads it there), and to
// wait after Result.Second until writes that the machine had sent have drained.
package bmc
