package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

func checkState(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		for _, f := range p.code() {
			for _, decl := range f.Syntax.Decls {
				if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.VAR {
					found = append(found, stateOf(t, p, g)...)
				}
			}
		}
	}
	return found
}

func stateOf(t *Tree, p *Package, g *ast.GenDecl) []Violation {
	var found []Violation
	for _, s := range g.Specs {
		spec := s.(*ast.ValueSpec)
		for i, name := range spec.Names {
			if name.Name == "_" || isSentinel(spec, i) || isEmbedded(g, spec) {
				continue
			}
			found = append(found, Violation{
				At: t.at(name.Pos()), Key: p.Dir + "." + name.Name,
				What: fmt.Sprintf("package-level variable %s", name.Name),
			})
		}
	}
	return found
}

// isSentinel says whether the i-th name of spec is an error value: Err... = errors.New(...) or fmt.Errorf(...), or another
// package's such value under the same name, so that its callers need not know that package.
func isSentinel(spec *ast.ValueSpec, i int) bool {
	if !regexp.MustCompile(`^[Ee]rr[A-Z]`).MatchString(spec.Names[i].Name) || i >= len(spec.Values) {
		return false
	}
	if sel, ok := spec.Values[i].(*ast.SelectorExpr); ok {
		return sel.Sel.Name == spec.Names[i].Name
	}
	call, ok := spec.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && (pkg.Name == "errors" && sel.Sel.Name == "New" || pkg.Name == "fmt" && sel.Sel.Name == "Errorf")
}

// isEmbedded says whether spec is a text that the compiler reads in. A []byte can be written to and is not allowed.
func isEmbedded(g *ast.GenDecl, spec *ast.ValueSpec) bool {
	directive := func(c *ast.CommentGroup) bool {
		return c != nil && slices.ContainsFunc(c.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
	}
	if _, slice := spec.Type.(*ast.ArrayType); slice {
		return false
	}
	return directive(g.Doc) || directive(spec.Doc)
}

func checkInit(t *Tree) []Violation {
	var found []Violation
	eachFunc(t, func(p *Package, _ *File, d *ast.FuncDecl) {
		if d.Recv == nil && d.Name.Name == "init" {
			found = append(found, Violation{At: t.at(d.Pos()), Key: p.Dir + ".init", What: "func init"})
		}
	})
	return found
}

func vagueNames() []string {
	return []string{"util", "utils", "common", "helper", "helpers", "types", "base", "manager", "managers", "misc"}
}

func checkNames(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		for _, name := range []string{p.Name, path.Base(p.Dir)} {
			if slices.Contains(vagueNames(), name) {
				found = append(found, Violation{At: p.Dir, Key: p.Dir, What: fmt.Sprintf("package %s is named %s", p.Dir, name)})
				break
			}
		}
	}
	return found
}

func checkSleep(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		for _, f := range p.Files {
			timeName := nameOf(f, "time")
			if !f.Test || timeName == "" || nameOf(f, "testing/synctest") != "" {
				continue
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "Sleep" {
					return true
				}
				if id, ok := sel.X.(*ast.Ident); ok && id.Name == timeName {
					found = append(found, Violation{At: t.at(n.Pos()), Key: f.Path, What: "time.Sleep in a test"})
				}
				return true
			})
		}
	}
	return found
}

// checkReboot finds the system call by its wrappers and by its number.
func checkReboot(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		for _, f := range p.Files {
			names := []string{nameOf(f, "syscall"), nameOf(f, "golang.org/x/sys/unix")}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != "Reboot" && sel.Sel.Name != "SYS_REBOOT" {
					return true
				}
				if id, ok := sel.X.(*ast.Ident); ok && slices.Contains(names, id.Name) {
					found = append(found, Violation{At: t.at(n.Pos()), Key: f.Path, What: "reboot(2)"})
				}
				return true
			})
		}
	}
	return found
}
