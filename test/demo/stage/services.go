package stage

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Service is one service of the cluster: a file system on a data disk of its own,
// an address and the ledger on both; not root, the ledger as a plain process.
type Service struct {
	Name   string
	Prefer []string // node names, the best first
	// Witness puts a member before all others that makes the power emulator
	// stamp "NAME mounts" with its own clock, before anything is mounted.
	Witness bool

	index int
	stage *Stage
}

// URL is where clients reach the service.
func (s *Service) URL() string { return fmt.Sprintf("http://%s:%d", s.Address(), servicePort) }

// Address is the service's own IP address.
func (s *Service) Address() string {
	if s.stage.Root {
		return address(len(networks())-1, 100+s.index)
	}
	return s.stage.loopback(200 + s.index)
}

// Mountpoint is where the service's file system is, on the node that runs it.
func (s *Service) Mountpoint() string { return filepath.Join(s.stage.base, "mnt", s.Name) }

// File is the file that the service writes.
func (s *Service) File() string {
	if s.stage.Root {
		return filepath.Join(s.Mountpoint(), "ledger")
	}
	return filepath.Join(s.stage.base, "shared", s.Name)
}

// WitnessText is what the emulator's mark of a Witness says.
func (s *Service) WitnessText() string { return s.Name + " mounts" }

// configuration is the cluster's configuration as an administrator writes it.
func (s *Stage) configuration() string {
	var b strings.Builder
	// Nodes that are made to fail again and again are not to be left out for it.
	fmt.Fprintf(&b, "cluster:\n  name: %s\n  failover_within: %s\n  quarantine: off\nservices:\n", s.ClusterName, s.Within)
	for _, v := range s.Services {
		fmt.Fprintf(&b, "  %s:\n", v.Name)
		if len(v.Prefer) > 0 {
			fmt.Fprintf(&b, "    prefer: [%s]\n", strings.Join(v.Prefer, ", "))
		}
		fmt.Fprintf(&b, "    stack:\n")
		for _, m := range v.stack() {
			fmt.Fprintf(&b, "      - %s\n", m)
		}
	}
	if s.Controllers != nil {
		fmt.Fprintf(&b, "fencing:\n  ways:\n")
		for _, n := range s.Nodes {
			fmt.Fprintf(&b, "    %s: [bmc, disk]\n", n.Name)
		}
	}
	return b.String()
}

// stack are the members of the service, bottom first.
func (s *Service) stack() []string {
	var members []string
	if s.Witness {
		members = append(members, fmt.Sprintf(
			`exec: {start: '%s mark -socket %s "$HOLDFAST_NODE" %s && { sleep 1000000 >/dev/null 2>&1 & }'}`,
			s.stage.program("demo"), s.stage.powerSocket(), s.WitnessText()))
	}
	if s.stage.Root {
		members = append(members,
			fmt.Sprintf("filesystem: {device: %s, at: %s, type: ext4}",
				filepath.Join(s.stage.shown(), dataName(s.index)), s.Mountpoint()),
			fmt.Sprintf("ip: {address: %s/24, reach: %s}", s.Address(), address(len(networks())-1, outsideHost)))
	}
	return append(members, fmt.Sprintf("exec: {run: [%s, serve, -listen, '%s:%d', -file, %s]}",
		s.stage.program("demo"), s.Address(), servicePort, s.File()))
}
