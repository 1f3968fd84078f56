package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// sources is a module in memory: path to content.
type sources map[string]string

func (s sources) load(t *testing.T) *Tree {
	t.Helper()
	files := fstest.MapFS{"go.mod": {Data: []byte("module example.org/m\n\ngo 1.26\n")}}
	for name, src := range s {
		files[name] = &fstest.MapFile{Data: []byte(src)}
	}
	tree, err := Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// with gives a source with a package comment and the given rest.
func with(pkg, rest string) string {
	return "// Package " + pkg + " is an example.\npackage " + pkg + "\n" + rest + "\n"
}

func importing(pkg string, paths ...string) string {
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "import _ %q\n", p)
	}
	return with(pkg, b.String())
}

// function gives a function of n lines.
func function(name string, n int) string {
	return "// " + name + " is long.\nfunc " + name + "() {\n" + strings.Repeat("\tprintln()\n", n-2) + "}\n"
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// A case breaks one rule (or none, where want is empty) with one small module.
type ruleCase struct {
	name string
	src  sources
	rule string
	want []string // one per violation: a part of its text
}

func (c ruleCase) run(t *testing.T) {
	tree := c.src.load(t)
	var got []Violation
	for _, r := range Rules() {
		if found := r.Check(tree); r.Name == c.rule {
			got = found
		} else if len(found) > 0 {
			t.Errorf("rule %s fails too: %s", r.Name, found)
		}
	}
	if len(got) != len(c.want) {
		t.Fatalf("%d violations, want %d: %v", len(got), len(c.want), got)
	}
	for i, v := range got {
		if !strings.Contains(v.String(), c.want[i]) {
			t.Errorf("violation %d is %q, want %q in it", i, v, c.want[i])
		}
		if v.Why == "" || !strings.Contains(v.String(), v.Why) {
			t.Errorf("violation %d does not say why: %q", i, v)
		}
	}
}

func run(t *testing.T, cases []ruleCase) {
	for _, c := range cases {
		t.Run(c.rule+"/"+c.name, c.run)
	}
}

func TestEachRuleHasACaseThatBreaksIt(t *testing.T) {
	var cases []ruleCase
	for _, group := range [][]ruleCase{importCases(), fakeCases(), purityCases(), stateCases(), docCases(), sizeCases(), testCases()} {
		cases = append(cases, group...)
	}
	for _, r := range Rules() {
		broken := func(c ruleCase) bool { return c.rule == r.Name && len(c.want) > 0 }
		if !slices.ContainsFunc(cases, broken) {
			t.Errorf("no case breaks rule %s", r.Name)
		}
		if r.Why == "" {
			t.Errorf("rule %s has no reason", r.Name)
		}
	}
	run(t, cases)
}

func importCases() []ruleCase {
	return []ruleCase{
		{"unlisted package", sources{"novel/n.go": with("novel", "")}, "imports", []string{"novel is not in the import table: add a row"}},
		{"part imports core", sources{
			"cluster/c.go":       with("cluster", ""),
			"cluster/lease/l.go": importing("lease", "example.org/m/cluster"),
		}, "imports", []string{"cluster/lease may not import cluster:"}},
		{"part imports part", sources{
			"cluster/timing/t.go": with("timing", ""),
			"cluster/lease/l.go":  importing("lease", "example.org/m/cluster/timing"),
		}, "imports", []string{"it may import cluster/ident"}},
		{"core imports parts", sources{
			"cluster/ident/i.go": with("ident", ""),
			"cluster/lease/l.go": importing("lease", "example.org/m/cluster/ident"),
			"cluster/core/c.go":  importing("core", "example.org/m/cluster/lease"),
		}, "imports", nil},
		{"words import no decision", sources{
			"cluster/core/c.go": with("core", ""),
			"cluster/c.go":      importing("cluster", "example.org/m/cluster/core"),
		}, "imports", []string{"cluster may not import cluster/core"}},
		{"core imports disk", sources{"cluster/c.go": importing("cluster", "example.org/m/storage")}, "imports", []string{"cluster may not import storage"}},
		{"storage knows no cluster", sources{"storage/s.go": importing("storage", "example.org/m/cluster/ident")}, "imports", []string{"nothing of this module"}},
		{"storage below storage", sources{"storage/lvm/l.go": importing("lvm", "example.org/m/storage")}, "imports", nil},
		{"kinds do not know each other", sources{"resources/ip/i.go": importing("ip", "example.org/m/resources", "example.org/m/resources/exec")}, "imports", []string{"resources/exec"}},
		{"daemon imports guard", sources{"internal/daemon/d.go": importing("daemon", "example.org/m/bmc", "example.org/m/internal/guard", "example.org/m/internal/ctl")}, "imports", []string{"internal/guard", "internal/ctl"}},
		{"guard imports heartbeat", sources{"internal/guard/g.go": importing("guard", "example.org/m/internal/clock", "example.org/m/internal/ctl")}, "imports", []string{"internal/ctl"}},
		{"commands", sources{"cmd/holdfast/m.go": importing("main", "example.org/m/internal/ctl", "example.org/m/internal/daemon")}, "imports", []string{"internal/daemon"}},
		{"test drivers", sources{"test/demo/m.go": importing("main", "example.org/m/internal/guard", "example.org/m/internal/daemon")}, "imports", nil},
		{"tests may import more", sources{
			"cluster/lease/l.go":      with("lease", ""),
			"cluster/lease/l_test.go": importing("lease", "example.org/m/storage", "os"),
		}, "imports", nil},
		{"guard reaches yaml", sources{
			"internal/guard/g.go": importing("guard", "example.org/m/sbd"),
			"sbd/s.go":            importing("sbd", "example.org/m/storage"),
			"storage/s.go":        importing("storage", "github.com/goccy/go-yaml/ast"),
		}, "reach", []string{"internal/guard -> sbd -> storage -> github.com/goccy/go-yaml/ast"}},
	}
}

func fakeCases() []ruleCase {
	return []ruleCase{
		{"production imports a fake", sources{
			"storage/s.go":             with("storage", ""),
			"storage/storagetest/s.go": importing("storagetest", "example.org/m/storage", "testing"),
			"quorumdisk/q.go":          importing("quorumdisk", "example.org/m/storage/storagetest"),
		}, "fakes", []string{"quorumdisk imports storage/storagetest outside a test"}},
		{"production imports a driver", sources{"internal/daemon/d.go": importing("daemon", "example.org/m/test/demo")}, "fakes", []string{"test/demo"}},
		{"fakes import fakes", sources{
			"storage/s.go":             with("storage", ""),
			"storage/storagetest/s.go": with("storagetest", ""),
			"bmc/b.go":                 with("bmc", ""),
			"bmc/bmctest/b.go":         importing("bmctest", "example.org/m/storage/storagetest"),
		}, "fakes", nil},
		{"fakes of nothing", sources{"bmc/bmctest/b.go": with("bmctest", "")}, "imports", []string{"does not stand below one"}},
	}
}

func purityCases() []ruleCase {
	inCore := func(rest string) sources { return sources{"cluster/c.go": with("cluster", rest)} }
	body := func(imports, code string) sources { return inCore(imports + "\nfunc f() {\n" + code + "\n}") }
	return []ruleCase{
		{
			"imports",
			sources{"cluster/c.go": importing("cluster", "net", "os", "context", "sync", "log", "math/rand", "math/rand/v2", "os/exec", "sync/atomic", "log/slog")},
			"purity",
			[]string{"imports net", "imports os", "context", "sync", "log", "math/rand", "math/rand/v2", "os/exec", "sync/atomic", "log/slog"},
		},
		{"allowed imports", sources{"cluster/c.go": importing("cluster", "net/netip", "fmt", "errors", "time", "slices", "encoding/binary")}, "purity", nil},
		{"other modules", sources{"cluster/ident/i.go": importing("ident", "github.com/google/uuid")}, "purity", []string{"not in the standard library"}},
		{"names without package", inCore(`import . "time"`), "purity", []string{"without their package"}},
		{"go", body("", "go f()"), "purity", []string{"a go statement"}},
		{"select", body("", "select {}"), "purity", []string{"a select statement"}},
		{"channel type", inCore("var _ chan int"), "purity", []string{"a channel"}},
		{"send and receive", body("", "c <- 1\n<-c"), "purity", []string{"a send", "a receive"}},
		{
			"time", body(`import "time"`, "time.Now()\ntime.Since(x)\ntime.After(1)\ntime.Tick(1)\ntime.Sleep(time.Second)\ntime.NewTimer(1)"),
			"purity",
			[]string{"time.Now", "time.Since", "time.After", "time.Tick", "time.Sleep", "time.NewTimer"},
		},
		{"time by another name", body(`import clock "time"`, "now := clock.Now"), "purity", []string{"time.Now"}},
		{"recover", body("", "recover()"), "purity", []string{"recover()"}},
		{"print", body(`import "fmt"`, "fmt.Println()\nprintln()\n_ = fmt.Sprint()"), "purity", []string{"fmt.Println", "println()"}},
		{"outside the core", sources{"storage/s.go": with("storage", "import \"time\"\nfunc f() { go f(); time.Now() }")}, "purity", nil},
		{"story runner", sources{
			"cluster/c.go":             with("cluster", ""),
			"cluster/clustertest/c.go": importing("clustertest", "os", "testing"),
		}, "purity", nil},
	}
}

func stateCases() []ruleCase {
	in := func(rest string) sources { return sources{"storage/s.go": with("storage", rest)} }
	return []ruleCase{
		{"variables", in("var a, b = 1, 2\nvar table = [2]string{}"), "state", []string{"variable a", "variable b", "variable table"}},
		{"allowed", in("import (\"errors\"; \"io\")\n// ErrBusy says so.\nvar ErrBusy = errors.New(\"busy\")\n// ErrClosedPipe is theirs.\nvar ErrClosedPipe = io.ErrClosedPipe\nvar errOdd = fmt.Errorf(\"%w\", ErrBusy)\nvar _ [1]struct{}\n//go:embed a.txt\nvar text string"), "state", nil},
		{"not an error", in("// ErrBusy is not one.\nvar ErrBusy = 1"), "state", []string{"ErrBusy"}},
		{"embedded and writable", in("//go:embed a.txt\nvar text []byte"), "state", []string{"text"}},
		{"tables in tests", sources{"storage/s.go": with("storage", ""), "storage/s_test.go": "package storage\nvar table = 1"}, "state", nil},
		{"the linker's variable", sources{"internal/build/b.go": with("build", "var version string")}, "state", nil},
		{"init", in("func init() {}"), "init", []string{"func init"}},
		{"init method", in("type t int\nfunc (t) init() {}"), "init", nil},
		{"folder", sources{"storage/util/u.go": with("util", "")}, "names", []string{"storage/util is named util"}},
		{"clause", sources{"storage/x/u.go": with("helpers", "")}, "names", []string{"is named helpers"}},
	}
}

func docCases() []ruleCase {
	in := func(rest string) sources { return sources{"storage/s.go": with("storage", rest)} }
	return []ruleCase{
		{"missing", sources{"storage/s.go": "package storage"}, "packagedoc", []string{"no package comment"}},
		{"directive only", sources{"storage/s.go": "//go:build linux\n\npackage storage"}, "packagedoc", []string{"no package comment"}},
		{"in another file", sources{"storage/s.go": "package storage", "storage/doc.go": with("storage", "")}, "packagedoc", nil},
		{"function", in("func F() {}"), "docs", []string{"exported F"}},
		{"method", in("// T is.\ntype T[K any] int\nfunc (t *T[K]) M() {}\ntype u int\nfunc (u) M() {}"), "docs", []string{"exported T.M"}},
		{"type in a group", in("// Types.\ntype (\n\tA int\n\tB int // B is.\n)"), "docs", []string{"exported A"}},
		{"constants", in("const (\n\tA = 1\n\tB = 2 // B is.\n)\n// Limits.\nconst (\n\tC = 1\n)"), "docs", []string{"exported A"}},
		{"interface method", in("// D is.\ntype D interface {\n\t// A does.\n\tA()\n\tB()\n}"), "docs", []string{"exported D.B"}},
		{"directive is no comment", in("//go:noinline\nfunc F() {}"), "docs", []string{"exported F"}},
	}
}

func sizeCases() []ruleCase {
	in := func(rest string) sources { return sources{"storage/s.go": with("storage", rest)} }
	file := func(n int) string { return with("storage", "") + strings.Repeat("// x\n", n-3) }
	return []ruleCase{
		{"70 lines", in(function("F", 70)), "function", nil},
		{"71 lines", in(function("F", 71)), "function", []string{"F has 71 lines"}},
		{"test", sources{"storage/s.go": with("storage", ""), "storage/s_test.go": "package storage\n" + function("A", 120) + function("B", 121)}, "function", []string{"B has 121 lines"}},
		{"generated", sources{"storage/s.go": "// Code generated by x. DO NOT EDIT.\n\n" + with("storage", function("F", 600))}, "function", nil},
		{"500 lines", sources{"storage/s.go": file(500)}, "file", nil},
		{"501 lines", sources{"storage/s.go": file(501), "storage/s_test.go": file(2000)}, "file", []string{"501 lines"}},
		{"2001 lines", sources{"storage/a.go": file(500), "storage/b.go": file(500), "storage/c.go": file(500), "storage/d.go": file(498), "storage/e.go": file(3)}, "package", []string{"2001 lines"}},
		{"long main", sources{"test/demo/m.go": with("main", function("main", 61))}, "main", []string{"main has 61 lines"}},
		{"long command", sources{"cmd/holdfast/m.go": with("main", function("main", 50)+function("f", 20))}, "main", []string{"cmd/holdfast has"}},
		{"15 fields", in("type s struct {\n\tio.Reader\n\ta, b int\n" + numbered("\tf%d int\n", 12) + "}"), "struct", nil},
		{"16 fields", in("type s struct {\n\tio.Reader\n\ta, b int\n" + numbered("\tf%d int\n", 13) + "}"), "struct", []string{"s has 16 fields"}},
		{"4 methods", in("type i interface {\n" + numbered("\tm%d()\n", 4) + "}"), "interface", nil},
		{"5 methods", in("type i interface {\n\tio.Reader\n" + numbered("\tm%d()\n", 4) + "}"), "interface", []string{"i has 5 methods"}},
		{"5 parameters", in("func (r t) f(a, b int, c, d, e string) {}"), "params", nil},
		{"6 parameters", in("func f(a, b int, c, d, e, f string) {}"), "params", []string{"f: a function with 6 parameters"}},
	}
}

func testCases() []ruleCase {
	in := func(test string) sources {
		return sources{"storage/s.go": with("storage", ""), "storage/s_test.go": "package storage\n" + test}
	}
	return []ruleCase{
		{"sleeps", in("import \"time\"\nfunc f() { time.Sleep(1) }"), "sleep", []string{"storage/s_test.go:3: time.Sleep in a test"}},
		{"in a bubble", in("import \"time\"\nimport \"testing/synctest\"\nfunc f() { synctest.Test(t, func() { time.Sleep(1) }) }"), "sleep", nil},
		{"reboots", in("import \"golang.org/x/sys/unix\"\nfunc f() { unix.Reboot(0) }"), "reboot", []string{"storage/s_test.go:3: reboot(2)"}},
		{"reboots by number", in("import \"syscall\"\nfunc f() { syscall.Syscall(syscall.SYS_REBOOT, 0, 0, 0) }"), "reboot", []string{"storage/s_test.go:3: reboot(2)"}},
		{"is named so", in("type m struct{}\nfunc (m) Reboot() {}\nfunc f(unix m) { unix.Reboot() }"), "reboot", nil},
		{"waits otherwise", in("import \"time\"\nfunc f() { time.After(1) }"), "sleep", nil},
	}
}

func TestStaleExceptionIsReported(t *testing.T) {
	tree := sources{"internal/build/b.go": with("build", "var version string")}.load(t)
	stale := StaleExceptions(tree)
	if len(stale) != len(exceptions())-1 {
		t.Fatalf("%d of %d exceptions are stale, want all but the one in use: %v", len(stale), len(exceptions()), stale)
	}
	for _, e := range exceptions() {
		if e.why == "" {
			t.Errorf("the exception of %s for %s has no reason", e.rule, e.key)
		}
	}
}

func TestLoadPassesOverWhatGoPassesOver(t *testing.T) {
	tree := sources{
		"storage/s.go":              with("storage", ""),
		"storage/testdata/x.go":     "not go",
		"vendor/example.org/x/x.go": "not go",
		".git/x.go":                 "not go",
		"_old/x.go":                 "not go",
		"storage/_x.go":             "not go",
		"tools/go.mod":              "module example.org/m/tools",
		"tools/x.go":                "not go",
	}.load(t)
	if len(tree.Packages) != 1 || tree.Packages[0].Dir != "storage" || tree.Module != "example.org/m" {
		t.Fatalf("loaded %+v of %s, want storage alone", tree.Packages, tree.Module)
	}
}

func TestLoadRefusesWhatDoesNotParse(t *testing.T) {
	files := fstest.MapFS{"go.mod": {Data: []byte("module m\n")}, "a/a.go": {Data: []byte("package")}}
	if _, err := Load(files); err == nil || !strings.Contains(err.Error(), "a/a.go") {
		t.Fatalf("error %v, want one that names a/a.go", err)
	}
	if _, err := Load(fstest.MapFS{}); err == nil {
		t.Fatal("a folder without go.mod was loaded")
	}
}

func TestRowWithTheLongestPatternHolds(t *testing.T) {
	for dir, want := range map[string]string{
		"cluster": "cluster", "cluster/ident": "cluster/ident", "cluster/lease": "cluster/...", "sbd/watchdog": "sbd/watchdog",
		"resources": "resources", "resources/ip": "resources/...", "test/demo": "test/...", "storage/mount": "storage/...",
	} {
		if r, ok := rowFor(dir); !ok || r.tree != want {
			t.Errorf("the row for %s is %q, want %q", dir, r.tree, want)
		}
	}
	if r, ok := rowFor("clusters"); ok {
		t.Errorf("clusters falls under %q, want no row", r.tree)
	}
}

func TestTheTableHasOneRowPerTree(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range importTable() {
		if seen[r.tree] {
			t.Errorf("two rows for %s: only one of them holds", r.tree)
		}
		if r.why == "" {
			t.Errorf("the row for %s has no reason", r.tree)
		}
		seen[r.tree] = true
	}
}
