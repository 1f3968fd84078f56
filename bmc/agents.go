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

// fileSuffix ends the options that name the file of a secret.
const fileSuffix = "_file"

// secretOptions are the options of fence agents that hold a secret. None of them
// stands in a reference; an option with _file behind its name, as in
// community_file, names the place of the secret, which ReadSecret reads.
func secretOptions() []string {
	return []string{"password", "passwd", "snmp_priv_passwd", "community", "secret_key", "apikey", "token", "key", "key_value"}
}

// SecretPlaces takes the options that name the places of secrets out of a
// reference's options: what is left is for the agent to be told, and places
// holds, by the option that the secret is for, where it stands.
func SecretPlaces(options map[string]string) (left, places map[string]string) {
	left, places = map[string]string{}, map[string]string{}
	for name, value := range options {
		plain, isPlace := strings.CutSuffix(strings.ReplaceAll(name, "-", "_"), fileSuffix)
		// token_file is an option of agents themselves.
		if isPlace && plain != "token" && slices.Contains(secretOptions(), plain) {
			places[plain] = value
			continue
		}
		left[name] = value
	}
	return left, places
}

// checkAgentName accepts fence_NAME and absolute paths to one, but not agents
// whose "off" leaves the machine running.
func checkAgentName(name string) error {
	if name == "" {
		return errors.New("names no agent: write agent:fence_NAME")
	}
	base := filepath.Base(name)
	if name != base && (!filepath.IsAbs(name) || filepath.Clean(name) != name) {
		return fmt.Errorf("agent %s is neither a name nor an absolute path", shown(name))
	}
	if !regexp.MustCompile(`^fence_[a-zA-Z0-9_-]+$`).MatchString(base) {
		return fmt.Errorf("agent %s is not of the form fence_NAME", shown(name))
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
			return errors.New("an option has a name that cannot be told to an agent: letters, digits, _ and - only")
		}
		if strings.ContainsAny(options[name], "\n\r\x00") {
			return fmt.Errorf("option %s has a line break in its value", name)
		}
		plain := strings.ReplaceAll(name, "-", "_")
		if slices.Contains(secretOptions(), plain) {
			return fmt.Errorf("option %s holds a secret; write it into a file of mode 0600 and give %s%s=/PATH instead", plain, plain, fileSuffix)
		}
		switch plain {
		case "action", "option":
			return fmt.Errorf("option %s is set by the one who calls the agent", name)
		case "missing_as_off":
			return fmt.Errorf("option %s makes \"not found\" look like \"off\", which would let two machines write at once", name)
		case "network_fencing":
			return fmt.Errorf("option %s makes a blocked network look like \"off\", while the machine writes on", name)
		case "debug", "debug_file":
			return fmt.Errorf("option %s makes the agent write passwords to a file", name)
		}
	}
	return nil
}
