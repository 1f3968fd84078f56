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

// Prototype is an item of the template, or of a discovery rule.
type Prototype struct {
	UUID, Name, Type, Key string
	ValueType             string               `yaml:"value_type"`
	MasterItem            struct{ Key string } `yaml:"master_item"`
	Preprocessing         []struct {
		Type       string
		Parameters []string
	}
	Triggers   []trigger
	Prototypes []trigger `yaml:"trigger_prototypes"`
}

type trigger struct{ UUID, Name, Expression, Priority string }

// template is what is read of the packaged one.
type template struct {
	Items     []Prototype
	Discovery []struct {
		Prototype `yaml:",inline"`
		Items     []Prototype `yaml:"item_prototypes"`
		Macros    []struct {
			Macro string `yaml:"lld_macro"`
			Path  string
		} `yaml:"lld_macro_paths"`
	} `yaml:"discovery_rules"`
}

func readTemplate(t *testing.T) *template {
	t.Helper()
	text, err := os.ReadFile(templateFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Export struct {
			Version   string
			Templates []template
		} `yaml:"zabbix_export"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Export.Templates) != 1 || file.Export.Version != "6.0" {
		t.Fatalf("%d templates of version %q, %v", len(file.Export.Templates), file.Export.Version, err)
	}
	return &file.Export.Templates[0]
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
	take := func(p *Prototype, fill *strings.Replacer) error {
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

// called are the items that a trigger asks for: last(/Template/key[...]).
var called = regexp.MustCompile(`/Holdfast by Zabbix agent/([a-z.]+(?:\[[^\]]*\])?)`)

// TestTemplate: what the template refers to is there, and its identities are each one's own.
func TestTemplate(t *testing.T) {
	t.Parallel()
	parameters, err := os.ReadFile(parametersFile)
	if err != nil {
		t.Fatal(err)
	}
	tpl := readTemplate(t)
	all := append([]Prototype(nil), tpl.Items...)
	for i := range tpl.Discovery {
		all = append(append(all, tpl.Discovery[i].Prototype), tpl.Discovery[i].Items...)
	}
	keys, ids := map[string]bool{}, map[string]string{}
	for i := range all {
		keys[all[i].Key] = true
	}
	once := func(id, what string) {
		if len(id) != 32 || id[12] != '4' || ids[id] != "" {
			t.Errorf("%s has the identity %q of %q", what, id, ids[id])
		}
		ids[id] = what
	}
	for i := range all {
		p := &all[i]
		once(p.UUID, p.Key)
		if p.Type == "DEPENDENT" && !keys[p.MasterItem.Key] {
			t.Errorf("%s depends on %q, which is not there", p.Key, p.MasterItem.Key)
		}
		if p.Type == "" && !strings.Contains(string(parameters), "UserParameter="+p.Key+",") {
			t.Errorf("%s is not among the user parameters", p.Key)
		}
		for _, tr := range append(p.Triggers, p.Prototypes...) {
			once(tr.UUID, tr.Name)
			for _, m := range called.FindAllStringSubmatch(tr.Expression, -1) {
				if !keys[m[1]] {
					t.Errorf("%s: there is no item %s", tr.Name, m[1])
				}
			}
		}
	}
}
