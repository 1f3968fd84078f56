package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// impureImports are the packages of the standard library that act, wait, log or roll dice. A name stands for everything
// below it too, but for net/netip, which is values only.
func impureImports() []string {
	return []string{
		"net", "os", "context", "sync", "log", "math/rand", "crypto/rand", "hash/maphash", "syscall", "unsafe", "runtime",
		"testing", "embed", "plugin", "unique", "weak",
	}
}

func impureTime() []string {
	return []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "Sleep", "NewTimer", "NewTicker", "Timer", "Ticker"}
}

func checkPurity(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if !match("cluster/...", p.Dir) || p.support() {
			continue
		}
		for _, f := range p.code() {
			found = append(found, impureImportsOf(t, p, f)...)
			found = append(found, impureCode(t, p, f)...)
		}
	}
	return found
}

func impureImportsOf(t *Tree, p *Package, f *File) []Violation {
	var found []Violation
	say := func(spec *ast.ImportSpec, what string) {
		found = append(found, Violation{At: t.at(spec.Pos()), Key: p.Dir + " " + imported(spec), What: what})
	}
	for _, spec := range f.Syntax.Imports {
		importPath := imported(spec)
		if _, local := t.local(importPath); local {
			continue
		}
		if first, _, _ := strings.Cut(importPath, "/"); strings.Contains(first, ".") || first == "C" {
			say(spec, fmt.Sprintf("%s imports %s, which is not in the standard library", p.Dir, importPath))
			continue
		}
		if spec.Name != nil && spec.Name.Name == "." {
			say(spec, fmt.Sprintf("%s imports the names of %s without their package, so that nobody sees what is called", p.Dir, importPath))
		}
		forbidden := func(s string) bool { return importPath == s || strings.HasPrefix(importPath, s+"/") }
		if importPath != "net/netip" && slices.ContainsFunc(impureImports(), forbidden) {
			say(spec, fmt.Sprintf("%s imports %s", p.Dir, importPath))
		}
	}
	return found
}

func impureCode(t *Tree, p *Package, f *File) []Violation {
	var found []Violation
	timeName, fmtName := nameOf(f, "time"), nameOf(f, "fmt")
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		if what := impureNode(n, timeName, fmtName); what != "" {
			found = append(found, Violation{At: t.at(n.Pos()), Key: p.Dir + " " + what, What: what})
		}
		return true
	})
	return found
}

// impureNode says what is impure about one node, or nothing.
func impureNode(n ast.Node, timeName, fmtName string) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a go statement: actions are returned, not run"
	case *ast.SelectStmt:
		return "a select statement: the core waits for nothing"
	case *ast.ChanType:
		return "a channel: the core waits for nothing"
	case *ast.SendStmt:
		return "a send on a channel: the core waits for nothing"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "a receive from a channel: the core waits for nothing"
		}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "recover" || id.Name == "print" || id.Name == "println") {
			return id.Name + "(): a broken invariant ends the process, and the core prints nothing"
		}
	case *ast.SelectorExpr:
		id, ok := n.X.(*ast.Ident)
		if !ok {
			return ""
		}
		if id.Name == timeName && slices.Contains(impureTime(), n.Sel.Name) {
			return "time." + n.Sel.Name + ": time is an argument"
		}
		if id.Name == fmtName && (strings.HasPrefix(n.Sel.Name, "Print") || strings.HasPrefix(n.Sel.Name, "Scan")) {
			return "fmt." + n.Sel.Name + ": the core does no I/O"
		}
	}
	return ""
}
