package watchers

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

const (
	templateFile   = "../../packaging/monitoring/holdfast.zabbix.yaml"
	parametersFile = "../../packaging/monitoring/holdfast.zabbix.conf"
)

// agent is a Zabbix agent on one node, by the user parameters that are packaged.
type agent struct{ at string }

// watchZabbix starts one for a node. Its "holdfast" is that of the node.
func watchZabbix(t *testing.T, s *stage.Stage, n *stage.Node) *agent {
	t.Helper()
	dir := t.TempDir()
	l, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{l.Addr().String()}
	_, port, _ := net.SplitHostPort(a.at) // it is one
	parameters, err := filepath.Abs(parametersFile)
	err = errors.Join(err, l.Close(),
		os.WriteFile(filepath.Join(dir, "holdfast"), fmt.Appendf(nil, "#!/bin/sh\nexec %s --config %s \"$@\"\n", filepath.Join(s.Bin, "holdfast"), n.Config()), 0o700),
		os.WriteFile(filepath.Join(dir, "conf"), fmt.Appendf(nil,
			"AllowRoot=1\nServer=127.0.0.1\nListenIP=127.0.0.1\nListenPort=%s\nStartAgents=2\nTimeout=10\nLogType=console\nPidFile=%s/pid\nHostname=%s\nInclude=%s\n", port, dir, n.Name, parameters), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	run(t, filepath.Join(dir, "log"), "zabbix_agentd", "-f", "-c", filepath.Join(dir, "conf"))
	return a
}

// freePort listens where an agent may: from 1024 to 32767, which the kernel gives nobody
// by itself.
func freePort() (l net.Listener, err error) {
	for port := 20000; port < 32768; port++ {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			break
		}
	}
	return l, err
}

// get asks as zabbix_get does (Zabbix manual, appendix 6: passive checks): "ZBXD", flags 1,
// the length in 8 bytes, the key; the answer is of the same form.
func (a *agent) get(key string) (string, error) {
	c, err := net.DialTimeout("tcp", a.at, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write(append(binary.LittleEndian.AppendUint64([]byte("ZBXD\x01"), uint64(len(key))), key...)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	if err != nil || len(text) < 13 {
		return "", fmt.Errorf("%q, %w", text, err)
	}
	said := string(text[13:])
	if why, is := strings.CutPrefix(said, "ZBX_NOTSUPPORTED\x00"); is {
		return "", errors.New(why)
	}
	return said, nil
}

// The parts of a template as Zabbix 6.0 exports it, with every field that ours has: one
// that is misspelled is none of them.
type (
	tag  struct{ Tag, Value string }
	step struct {
		Type       string
		Parameters []string
		Handler    string `yaml:"error_handler"`
	}
	trigger struct {
		UUID, Name, Expression, Priority, Description string
		Tags                                          []tag
	}
	// prototype is an item of the template, or of a discovery rule, or such a rule.
	prototype struct {
		UUID, Name, Type, Key, Delay, History, Trends, Units, Description string
		ValueType                                                         string               `yaml:"value_type"`
		MasterItem                                                        struct{ Key string } `yaml:"master_item"`
		Preprocessing                                                     []step
		Tags                                                              []tag
		Triggers                                                          []trigger
		Prototypes                                                        []trigger `yaml:"trigger_prototypes"`
		Lifetime                                                          string
		Items                                                             []prototype `yaml:"item_prototypes"`
		Macros                                                            []struct {
			Macro string `yaml:"lld_macro"`
			Path  string
		} `yaml:"lld_macro_paths"`
	}
	template struct {
		UUID, Template, Name, Description string
		Groups                            []struct{ Name string }
		Items                             []prototype
		Discovery                         []prototype `yaml:"discovery_rules"`
		Tags                              []tag
		Macros                            []struct{ Macro, Value, Description string }
	}
)

func readTemplate(t *testing.T) *template {
	t.Helper()
	text, err := os.ReadFile(templateFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Export struct {
			Version, Date string
			Groups        []struct{ UUID, Name string }
			Templates     []template
		} `yaml:"zabbix_export"`
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil || len(file.Export.Templates) != 1 || file.Export.Version != "6.0" {
		t.Fatalf("%d templates of version %q, %v", len(file.Export.Templates), file.Export.Version, err)
	}
	return &file.Export.Templates[0]
}

// all are the items and the discovery rules, with their items.
func (t *template) all() []prototype {
	all := append([]prototype(nil), t.Items...)
	for i := range t.Discovery {
		all = append(append(all, t.Discovery[i]), t.Discovery[i].Items...)
	}
	return all
}

// filter is the condition in a path: [?(@.name=='orders')].
var filter = regexp.MustCompile(`^\[\?\(@\.(\w+)=='([^']*)'\)\]`)

// pick follows a path of JSONPath as far as the template uses it: members, one condition,
// first() and length(). Nothing there is nil.
func pick(v any, path string) (any, error) {
	rest, is := strings.CutPrefix(path, "$")
	if !is {
		return nil, fmt.Errorf("%q does not begin with $", path)
	}
	for rest != "" && v != nil {
		list, isList := v.([]any)
		switch m := filter.FindStringSubmatch(rest); {
		case m != nil && isList:
			var found []any
			for _, e := range list {
				if o, is := e.(map[string]any); is && o[m[1]] == m[2] {
					found = append(found, e)
				}
			}
			v, rest = found, rest[len(m[0]):]
		case rest == ".length()" && isList:
			return float64(len(list)), nil
		case rest == ".first()" && isList && len(list) > 0:
			return list[0], nil
		case rest == ".first()" && isList:
			return nil, nil
		case isList: // the member of every element
			name, after := member(rest)
			var found []any
			for _, e := range list {
				if o, is := e.(map[string]any); is && o[name] != nil {
					found = append(found, o[name])
				}
			}
			v, rest = found, after
		default:
			o, is := v.(map[string]any)
			name, after := member(rest)
			if !is || name == "" {
				return nil, fmt.Errorf("%q: %q does not fit", path, rest)
			}
			v, rest = o[name], after
		}
	}
	return v, nil
}

func member(rest string) (name, after string) {
	rest = strings.TrimPrefix(rest, ".")
	at := strings.IndexAny(rest, ".[")
	if at < 0 {
		return rest, ""
	}
	return rest[:at], rest[at:]
}

// latest is what the template's items say of one answer of the agent, by key.
func (t *template) latest(answer string) (map[string]any, error) {
	var status any
	if err := json.Unmarshal([]byte(answer), &status); err != nil {
		return nil, fmt.Errorf("%w: %s", err, answer)
	}
	out := map[string]any{}
	take := func(p *prototype, fill *strings.Replacer) error {
		if len(p.Preprocessing) == 0 || p.MasterItem.Key != "holdfast.status" {
			return nil // it asks the agent itself
		}
		v, err := pick(status, fill.Replace(p.Preprocessing[0].Parameters[0]))
		out[fill.Replace(p.Key)] = v
		return err
	}
	none := strings.NewReplacer()
	var errs []error
	for i := range t.Items {
		errs = append(errs, take(&t.Items[i], none))
	}
	for i := range t.Discovery {
		d := &t.Discovery[i]
		found, err := pick(status, d.Preprocessing[0].Parameters[0])
		list, _ := found.([]any)
		errs = append(errs, err)
		for _, e := range list {
			name, err := pick(e, d.Macros[0].Path)
			errs = append(errs, err)
			for k := range d.Items {
				errs = append(errs, take(&d.Items[k], strings.NewReplacer(d.Macros[0].Macro, fmt.Sprint(name))))
			}
		}
	}
	return out, errors.Join(errs...)
}
