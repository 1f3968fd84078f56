package bmc

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// checkAgentName accepts fence_NAME and absolute paths to one, but not agents
// whose "off" leaves the machine running.
func checkAgentName(name string) error {
	if name == "" {
		return errors.New("names no agent: write agent:fence_NAME")
	}
	base := filepath.Base(name)
	if name != base && (!filepath.IsAbs(name) || filepath.Clean(name) != name) {
		return fmt.Errorf("agent %q is neither a name nor an absolute path", name)
	}
	if !regexp.MustCompile(`^fence_[a-zA-Z0-9_-]+$`).MatchString(base) {
		return fmt.Errorf("agent %q is not of the form fence_NAME", name)
	}
	switch base {
	case "fence_scsi", "fence_mpath", "fence_brocade", "fence_sanbox2", "fence_cisco_mds", "fence_cisco_ucs_vif", "fence_ifmib", "fence_na":
		return fmt.Errorf("%s takes away storage or network, but not power: its \"off\" does not say that the machine stopped", base)
	case "fence_sbd", "fence_watchdog", "fence_kdump", "fence_dummy", "fence_heuristics_ping", "fence_ack_manual", "fence_manual":
		return fmt.Errorf("%s does not read the power of a machine: its \"off\" is a message or an assumption", base)
	}
	return nil
}

// checkAgentOptions refuses options that an agent cannot be told, that belong
// elsewhere, or that make its answers worthless.
func checkAgentOptions(options map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if !regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]*$`).MatchString(name) {
			return fmt.Errorf("option %q cannot be told to an agent: letters, digits, _ and - only", name)
		}
		if strings.ContainsAny(options[name], "\n\r\x00") {
			return fmt.Errorf("option %s has a line break in its value", name)
		}
		switch strings.ReplaceAll(name, "-", "_") {
		case "action", "option":
			return fmt.Errorf("option %s is set by the one who calls the agent", name)
		case "password", "passwd", "snmp_priv_passwd":
			return fmt.Errorf("option %s holds a password; it belongs into a file of its own with mode 0600", name)
		case "missing_as_off":
			return fmt.Errorf("option %s makes \"not found\" look like \"off\", which would let two machines write at once", name)
		case "debug", "debug_file":
			return fmt.Errorf("option %s makes the agent write passwords to a file", name)
		}
	}
	return nil
}
