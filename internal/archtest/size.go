package archtest

import (
	"fmt"
	"go/ast"
)

// The limits of the repository, each counted as its rule says.
const (
	maxFunction     = 70   // lines from "func" to the closing brace
	maxTestFunction = 120  // the same in a test file, where a table of cases may stand inside
	maxFile         = 500  // lines, outside tests
	maxPackage      = 2000 // lines, outside tests
	maxMain         = 60   // lines of func main, and of all files of a package below cmd
	maxFields       = 15   // fields of a struct, an embedded one counted as one
	maxMethods      = 4    // methods of an interface, an embedded one counted as one
	maxParams       = 5    // parameters, the receiver left out
)

// eachFunc calls do for every function and method with a body, tests too.
func eachFunc(t *Tree, do func(*Package, *File, *ast.FuncDecl)) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			for _, decl := range f.Syntax.Decls {
				if d, ok := decl.(*ast.FuncDecl); ok {
					do(p, f, d)
				}
			}
		}
	}
}

// funcName gives the name of a function as an exception would write it: Name or Type.Name.
func funcName(d *ast.FuncDecl) string {
	if recv := receiver(d); recv != "" {
		return recv + "." + d.Name.Name
	}
	return d.Name.Name
}

func checkFunctions(t *Tree) []Violation {
	var found []Violation
	eachFunc(t, func(p *Package, f *File, d *ast.FuncDecl) {
		limit := maxFunction
		if f.Test {
			limit = maxTestFunction
		}
		if n := t.span(d.Pos(), d.End()); n > limit && !ast.IsGenerated(f.Syntax) {
			found = append(found, Violation{
				At: t.at(d.Pos()), Key: p.Dir + "." + funcName(d),
				What: fmt.Sprintf("%s has %d lines, at most %d are allowed", funcName(d), n, limit),
			})
		}
	})
	return found
}

func checkFiles(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		for _, f := range p.code() {
			if f.Lines > maxFile && !ast.IsGenerated(f.Syntax) {
				found = append(found, Violation{
					At: f.Path, Key: f.Path,
					What: fmt.Sprintf("the file has %d lines, at most %d are allowed", f.Lines, maxFile),
				})
			}
		}
	}
	return found
}

func (p *Package) lines() int {
	n := 0
	for _, f := range p.code() {
		if !ast.IsGenerated(f.Syntax) {
			n += f.Lines
		}
	}
	return n
}

func checkPackageSize(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if n := p.lines(); n > maxPackage {
			found = append(found, Violation{
				At: p.Dir, Key: p.Dir,
				What: fmt.Sprintf("package %s has %d lines, at most %d are allowed", p.Dir, n, maxPackage),
			})
		}
	}
	return found
}

func checkMain(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if n := p.lines(); match("cmd/...", p.Dir) && n > maxMain {
			found = append(found, Violation{
				At: p.Dir, Key: p.Dir,
				What: fmt.Sprintf("package %s has %d lines, at most %d are allowed", p.Dir, n, maxMain),
			})
		}
	}
	eachFunc(t, func(p *Package, f *File, d *ast.FuncDecl) {
		if n := t.span(d.Pos(), d.End()); f.Syntax.Name.Name == "main" && funcName(d) == "main" && n > maxMain {
			found = append(found, Violation{
				At: t.at(d.Pos()), Key: p.Dir + ".main",
				What: fmt.Sprintf("main has %d lines, at most %d are allowed", n, maxMain),
			})
		}
	})
	return found
}

// count gives the number of names in a list of fields, an unnamed one counted as one.
func count(list *ast.FieldList) int {
	if list == nil {
		return 0
	}
	n := 0
	for _, f := range list.List {
		n += max(1, len(f.Names))
	}
	return n
}

// inspect calls do for every node outside tests, with the name of the declaration around it.
func inspect(t *Tree, do func(p *Package, owner string, n ast.Node)) {
	for _, p := range t.Packages {
		for _, f := range p.code() {
			for _, decl := range f.Syntax.Decls {
				owner := ""
				if d, ok := decl.(*ast.FuncDecl); ok {
					owner = funcName(d)
				}
				ast.Inspect(decl, func(n ast.Node) bool {
					if spec, ok := n.(*ast.TypeSpec); ok {
						owner = spec.Name.Name
					}
					do(p, owner, n)
					return true
				})
			}
		}
	}
}

func checkStructs(t *Tree) []Violation {
	var found []Violation
	inspect(t, func(p *Package, owner string, n ast.Node) {
		if s, ok := n.(*ast.StructType); ok && count(s.Fields) > maxFields {
			found = append(found, Violation{
				At: t.at(n.Pos()), Key: p.Dir + "." + owner,
				What: fmt.Sprintf("%s has %d fields, at most %d are allowed", owner, count(s.Fields), maxFields),
			})
		}
	})
	return found
}

func checkInterfaces(t *Tree) []Violation {
	var found []Violation
	inspect(t, func(p *Package, owner string, n ast.Node) {
		if i, ok := n.(*ast.InterfaceType); ok && count(i.Methods) > maxMethods {
			found = append(found, Violation{
				At: t.at(n.Pos()), Key: p.Dir + "." + owner,
				What: fmt.Sprintf("%s has %d methods, at most %d are allowed", owner, count(i.Methods), maxMethods),
			})
		}
	})
	return found
}

func checkParams(t *Tree) []Violation {
	var found []Violation
	inspect(t, func(p *Package, owner string, n ast.Node) {
		f, ok := n.(*ast.FuncType)
		if !ok || count(f.Params) <= maxParams {
			return
		}
		found = append(found, Violation{
			At: t.at(n.Pos()), Key: p.Dir + "." + owner,
			What: fmt.Sprintf("%s: a function with %d parameters, at most %d are allowed", owner, count(f.Params), maxParams),
		})
	})
	return found
}
