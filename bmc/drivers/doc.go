// Package drivers reaches management controllers: Open makes a bmc.Switch from a
// reference. What the answers mean, and when "off" is certain, is package bmc's.
//
// Each call of a driver uses a session of its own, and a driver is chosen by the
// reference, never tried out: a password goes to one place, in one protocol.
//
//   - redfish (redfish.go, wire.go, tls.go): bmclib's gofish driver, with a
//     transport of our own below it;
//   - ipmitool (ipmitool.go, program.go): bmclib's ipmitool driver;
//   - lan (lan.go, rmcp.go): IPMI without a program, on go-ipmi's messages;
//   - agent (agent.go, program.go): external fence agents.
//
// InBand tells, on a machine itself, who its controller should say it is.
package drivers
