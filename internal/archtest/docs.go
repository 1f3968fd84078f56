package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

func checkPackageDoc(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		files := p.code()
		if len(files) == 0 {
			files = p.Files
		}
		described := false
		for _, f := range files {
			described = described || documented(f.Syntax.Doc)
		}
		if !described {
			found = append(found, Violation{At: p.Dir, Key: p.Dir, What: fmt.Sprintf("package %s has no package comment", p.Dir)})
		}
	}
	return found
}

// documented says whether there is text in one of the comments, directives for tools left out.
func documented(comments ...*ast.CommentGroup) bool {
	for _, c := range comments {
		if c != nil && strings.TrimSpace(c.Text()) != "" {
			return true
		}
	}
	return false
}

func checkDocs(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		say := func(pos token.Pos, name string) {
			found = append(found, Violation{At: t.at(pos), Key: p.Dir + "." + name, What: "exported " + name + " has no comment"})
		}
		for _, f := range p.code() {
			for _, decl := range f.Syntax.Decls {
				switch d := decl.(type) {
				case *ast.FuncDecl:
					if name, ok := exportedFunc(d); ok && !documented(d.Doc) {
						say(d.Pos(), name)
					}
				case *ast.GenDecl:
					checkGenDocs(d, say)
				}
			}
		}
	}
	return found
}

// exportedFunc gives the name of a function or method that other packages can call; a method counts when its type is
// exported.
func exportedFunc(d *ast.FuncDecl) (string, bool) {
	if !d.Name.IsExported() {
		return "", false
	}
	if d.Recv == nil {
		return d.Name.Name, true
	}
	recv := receiver(d)
	return recv + "." + d.Name.Name, ast.IsExported(recv)
}

// receiver gives the name of the type of a method, or the empty string for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.ParenExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// checkGenDocs looks at constants, variables and types. The comment on a group counts for its constants and variables, not
// for its types.
func checkGenDocs(d *ast.GenDecl, say func(token.Pos, string)) {
	for _, s := range d.Specs {
		switch spec := s.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && !documented(d.Doc, spec.Doc, spec.Comment) {
					say(name.Pos(), name.Name)
				}
			}
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if !documented(spec.Doc, spec.Comment) && (d.Lparen.IsValid() || !documented(d.Doc)) {
				say(spec.Name.Pos(), spec.Name.Name)
			}
			if i, ok := spec.Type.(*ast.InterfaceType); ok {
				checkMethodDocs(spec.Name.Name, i, say)
			}
		}
	}
}

func checkMethodDocs(owner string, i *ast.InterfaceType, say func(token.Pos, string)) {
	for _, m := range i.Methods.List {
		for _, name := range m.Names {
			if name.IsExported() && !documented(m.Doc, m.Comment) {
				say(name.Pos(), owner+"."+name.Name)
			}
		}
	}
}
