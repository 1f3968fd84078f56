// Package secret puts secrets into the settings of resources where these only name
// them. A parameter whose whole value is "secret:NAME" stands for the one line of the
// file NAME in a folder that only root can read, or of the systemd credential NAME:
// the configuration, and with it the quorum disks, histories, events and logs, hold
// the name alone. It is resolved in the process of the agent, on the node that runs
// it, and handed on in the environment, which no list of processes shows.
package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/bmc"
)

// prefix begins a reference.
const prefix = "secret:"

// Tables are the keys of a specification below which references are resolved: what
// stands there becomes environment. Anywhere else it could end in a command line.
func Tables() []string { return []string{"env", "with"} }

// Reference says that a value is a reference, and to which secret.
func Reference(value string) (name string, is bool) { return strings.CutPrefix(value, prefix) }

// Name says what is wrong with the name of a secret; empty if nothing is.
func Name(name string) string {
	if regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(name) {
		return ""
	}
	return "is no name of a secret, which has up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit"
}

// Places are the folders in which secrets are looked for, the first one first.
type Places []string

// variable tells agents the folders, separated as those of PATH.
const variable = "HOLDFAST_SECRETS"

// At are the places of a node: a folder of its own, and what systemd passed to this
// process (LoadCredential= and its relatives, see systemd.exec(5)).
func At(folder string) Places {
	p := Places{folder}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		p = append(p, dir)
	}
	return p
}

// Environ is the entry of an environment by which Here finds them again.
func (p Places) Environ() string {
	return variable + "=" + strings.Join(p, string(filepath.ListSeparator))
}

// Here are the places that this process was told.
func Here() Places { return filepath.SplitList(os.Getenv(variable)) }

// Read returns a secret. It fails, saying what to do, where there is none, or where
// others than root could read it.
func (p Places) Read(name string) (string, error) {
	if wrong := Name(name); wrong != "" {
		return "", fmt.Errorf("secret %q: %s", name, wrong)
	}
	for _, dir := range p {
		s, err := bmc.ReadSecret(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("secret %s: %w", name, err)
		}
		return s.Reveal(), nil
	}
	if len(p) == 0 {
		return "", fmt.Errorf("secret %s: this process was told no folder of secrets", name)
	}
	return "", fmt.Errorf("secret %s is missing on this node: write it into %s, with mode 0600", name, filepath.Join(p[0], name))
}

// Fill resolves the references of a specification. The error names all that cannot
// be; those are empty in what is returned nevertheless, for a stop that had better
// be tried than not.
func (p Places) Fill(spec json.RawMessage) (json.RawMessage, error) {
	var failed []error
	out, err := each(spec, func(name string) string {
		s, err := p.Read(name)
		if err != nil && !slices.ContainsFunc(failed, func(e error) bool { return e.Error() == err.Error() }) {
			failed = append(failed, err)
		}
		return s
	})
	if err != nil {
		return spec, nil // the agent says what is wrong with it
	}
	return out, errors.Join(failed...)
}

// each replaces every reference of a specification; where there is none it is
// returned as it is.
func each(spec json.RawMessage, replace func(name string) string) (json.RawMessage, error) {
	if !strings.Contains(string(spec), `"`+prefix) {
		return spec, nil
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(spec, &top); err != nil {
		return nil, err
	}
	for _, key := range Tables() {
		var table map[string]any
		if top[key] == nil || json.Unmarshal(top[key], &table) != nil {
			continue
		}
		for k, v := range table {
			if text, is := v.(string); is {
				if name, is := Reference(text); is {
					table[k] = replace(name)
				}
			}
		}
		filled, err := json.Marshal(table)
		if err != nil {
			return nil, err
		}
		top[key] = filled
	}
	return json.Marshal(top)
}

// shortest is the shortest secret that Hide looks for: shorter ones would turn every
// text into stars.
const shortest = 4

// Hide takes the secrets that a specification names out of a text: programs repeat
// their parameters when they complain.
func (p Places) Hide(spec json.RawMessage, text string) string {
	_, _ = each(spec, func(name string) string {
		if s, err := p.Read(name); err == nil && len(s) >= shortest {
			text = strings.ReplaceAll(text, s, "("+prefix+name+")")
		}
		return ""
	})
	return text
}
