package watchers

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// called are the parts of an expression that ask for an item: function(/Template/key[...]...
	called = regexp.MustCompile(`([a-z]+)\(/([^/]+)/([a-z.]+(?:\[[^\]]*\])?)`)
	// compared is what stands behind such a call: an operator and what it is compared with.
	compared  = regexp.MustCompile(`\)(=|<>|>|<)("[^"]*"|\{\$[A-Z.]+\}|\d+)`)
	userMacro = regexp.MustCompile(`\{\$[A-Z.]+\}`)
)

// numbers are the functions of our triggers whose result is one, of the Zabbix manual
// ("Supported functions"), by whether the item has to be one too.
func numbers() map[string]bool {
	return map[string]bool{"nodata": false, "find": false, "count": false, "change": false, "min": true}
}

// TestTemplate: what the template refers to is there, its identities are each one's own,
// and what it says are words of Zabbix 6.0.
func TestTemplate(t *testing.T) {
	t.Parallel()
	parameters, err := os.ReadFile(parametersFile)
	if err != nil {
		t.Fatal(err)
	}
	tpl := readTemplate(t)
	all := tpl.all()
	keys, ids := map[string]*prototype{}, map[string]string{}
	for i := range all {
		keys[all[i].Key] = &all[i]
	}
	once := func(id, what string) {
		if len(id) != 32 || id[12] != '4' || ids[id] != "" {
			t.Errorf("%s has the identity %q of %q", what, id, ids[id])
		}
		ids[id] = what
	}
	once(tpl.UUID, tpl.Name)
	for i := range all {
		p := &all[i]
		once(p.UUID, p.Key)
		if p.Type == "DEPENDENT" && keys[p.MasterItem.Key] == nil {
			t.Errorf("%s depends on %q, which is not there", p.Key, p.MasterItem.Key)
		}
		if p.Type == "" && !strings.Contains(string(parameters), "UserParameter="+p.Key+",") {
			t.Errorf("%s is not among the user parameters", p.Key)
		}
		worded(t, p)
		for _, tr := range append(p.Triggers, p.Prototypes...) {
			once(tr.UUID, tr.Name)
			checkTrigger(t, tpl, keys, &tr)
		}
	}
	text, err := os.ReadFile(templateFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range tpl.Macros {
		if strings.Count(string(text), m.Macro) < 2 {
			t.Errorf("the macro %s is used nowhere", m.Macro)
		}
	}
}

// worded: Zabbix knows these words where they stand.
func worded(t *testing.T, p *prototype) {
	t.Helper()
	one := func(what, word string, words ...string) {
		if !slices.Contains(words, word) {
			t.Errorf("%s: the %s %q is none of %q", p.Key, what, word, words)
		}
	}
	one("type", p.Type, "", "DEPENDENT")
	one("type of values", p.ValueType, "", "FLOAT", "CHAR", "TEXT")
	if texts := p.ValueType == "CHAR" || p.ValueType == "TEXT"; texts && (p.Trends != "0" || p.Units != "") {
		t.Errorf("%s is a text, which has neither trends nor units", p.Key)
	}
	if p.Type == "DEPENDENT" && p.Delay != "0" {
		t.Errorf("%s is asked for by itself, every %s", p.Key, p.Delay)
	}
	for _, s := range p.Preprocessing {
		one("preprocessing", s.Type, "JSONPATH", "CHANGE_PER_SECOND", "BOOL_TO_DECIMAL")
		one("handling of an error", s.Handler, "", "DISCARD_VALUE")
	}
	for _, tr := range append(p.Triggers, p.Prototypes...) {
		one("severity", tr.Priority, "INFO", "WARNING", "AVERAGE", "HIGH", "DISASTER")
	}
}

// checkTrigger: every item that it asks for is of this template, is compared with what it
// can be, and the macros in it have values.
func checkTrigger(t *testing.T, tpl *template, keys map[string]*prototype, tr *trigger) {
	t.Helper()
	e := tr.Expression
	found := called.FindAllStringSubmatchIndex(e, -1)
	if len(found) == 0 || len(found) != strings.Count(e, "(/") || strings.Count(e, "(") != strings.Count(e, ")") || strings.Count(e, `"`)%2 != 0 {
		t.Errorf("%s: %q cannot be read", tr.Name, e)
		return
	}
	for _, m := range found {
		function, host, key := e[m[2]:m[3]], e[m[4]:m[5]], e[m[6]:m[7]]
		p := keys[key]
		if host != tpl.Template || p == nil {
			t.Errorf("%s: there is no item %s of %q", tr.Name, key, host)
			continue
		}
		with := compared.FindStringSubmatch(e[m[1]:])
		if with == nil {
			t.Errorf("%s: %s of %s is compared with nothing", tr.Name, function, key)
			continue
		}
		text, quoted := p.ValueType == "CHAR" || p.ValueType == "TEXT", strings.HasPrefix(with[2], `"`)
		needs, number := numbers()[function]
		switch {
		case !number && function != "last":
			t.Errorf("%s: the function %s is not known", tr.Name, function)
		case number && (quoted || needs && text), function == "last" && quoted != text, text && function == "last" && with[1] != "=" && with[1] != "<>":
			t.Errorf("%s: %s of %s (%s) is compared by %s", tr.Name, function, key, p.ValueType, with[1]+with[2])
		}
	}
	for _, m := range userMacro.FindAllString(e, -1) {
		if !slices.ContainsFunc(tpl.Macros, func(d struct{ Macro, Value, Description string }) bool { return d.Macro == m && d.Value != "" }) {
			t.Errorf("%s: the macro %s has no value", tr.Name, m)
		}
	}
}

// answered: on a cluster that is well the agent answers for every key, and every item
// has a value, but for those that may have none.
func (w *show) answered() {
	for _, p := range w.template.all() {
		if p.Type == "" {
			if text, err := w.zabbix.get(p.Key); err != nil || text == "" {
				w.Errorf("the agent answers to %s with %q: %v", p.Key, text, err)
			}
		}
	}
	answer, err := w.zabbix.get("holdfast.status")
	if err != nil {
		w.Fatal(err)
	}
	items, err := w.template.latest(answer)
	if err != nil {
		w.Fatal(err)
	}
	may := map[string]bool{} // have none
	for _, p := range w.template.all() {
		may[p.Key[:strings.IndexByte(p.Key+"[", '[')]] = len(p.Preprocessing) > 0 && p.Preprocessing[0].Handler == "DISCARD_VALUE"
	}
	for key, v := range items {
		if v == nil && !may[key[:strings.IndexByte(key+"[", '[')]] {
			w.Errorf("the item %s has no value", key)
		}
	}
	w.Logf("Zabbix: %d items have values", len(items))
}
