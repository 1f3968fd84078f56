package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

func checkImports(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if p.support() {
			found = append(found, supportHome(t, p)...)
			continue
		}
		r, ok := rowFor(p.Dir)
		if !ok {
			found = append(found, Violation{At: p.Dir, Key: p.Dir, What: unlisted(p.Dir)})
			continue
		}
		for _, f := range p.code() {
			found = append(found, checkFileImports(t, p, f, r)...)
		}
	}
	return found
}

func unlisted(dir string) string {
	return fmt.Sprintf("package %s is not in the import table: add a row for it to importTable in internal/archtest/table.go and to "+
		"\"Who may import whom\" in docs/ARCHITECTURE.md, saying what it may import and why", dir)
}

// supportHome demands that a *test package stands below the package that it is for: storage/storagetest.
func supportHome(t *Tree, p *Package) []Violation {
	parent := path.Dir(p.Dir)
	if _, ok := rowFor(parent); ok && slices.ContainsFunc(t.Packages, func(q *Package) bool { return q.Dir == parent }) {
		return nil
	}
	return []Violation{{At: p.Dir, Key: p.Dir, What: fmt.Sprintf("package %s is named as the fakes of another package but does not stand below one", p.Dir)}}
}

func checkFileImports(t *Tree, p *Package, f *File, r row) []Violation {
	var found []Violation
	for _, spec := range f.Syntax.Imports {
		dir, ok := t.local(imported(spec))
		if !ok || isSupport(dir) || match("test/...", dir) && !match("test/...", p.Dir) {
			continue // another module, or the business of the rule about fakes
		}
		if matchAny(r.may, dir) && !matchAny(r.not, dir) {
			continue
		}
		found = append(found, Violation{
			At: t.at(spec.Pos()), Key: p.Dir + " " + dir,
			What: fmt.Sprintf("%s may not import %s: %s; it may import %s", p.Dir, dir, r.why, allowance(r)),
		})
	}
	return found
}

func allowance(r row) string {
	if len(r.may) == 0 {
		return "nothing of this module"
	}
	s := strings.Join(r.may, ", ")
	if len(r.not) > 0 {
		s += " but not " + strings.Join(r.not, ", ")
	}
	return s
}

func checkFakes(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if p.support() || match("test/...", p.Dir) {
			continue
		}
		for _, f := range p.code() {
			for _, spec := range f.Syntax.Imports {
				dir, ok := t.local(imported(spec))
				if ok && (isSupport(dir) || match("test/...", dir)) {
					found = append(found, Violation{
						At: t.at(spec.Pos()), Key: p.Dir + " " + dir,
						What: fmt.Sprintf("%s imports %s outside a test", p.Dir, dir),
					})
				}
			}
		}
	}
	return found
}

func checkReach(t *Tree) []Violation {
	var found []Violation
	for _, b := range banTable() {
		for _, p := range t.Packages {
			if match(b.tree, p.Dir) && !p.support() {
				found = append(found, reach(t, b, p)...)
			}
		}
	}
	return found
}

// reach walks the imports from p, nearest first, and reports the way to each import that b forbids.
func reach(t *Tree, b ban, p *Package) []Violation {
	byDir := map[string]*Package{}
	for _, q := range t.Packages {
		byDir[q.Dir] = q
	}
	var found []Violation
	way := map[string]string{p.Dir: p.Dir}
	for queue := []*Package{p}; len(queue) > 0; queue = queue[1:] {
		q := queue[0]
		for _, spec := range codeImports(q) {
			importPath := imported(spec)
			dir, local := t.local(importPath)
			if !local {
				if slices.ContainsFunc(b.other, func(s string) bool { return strings.HasPrefix(importPath, s) }) {
					found = append(found, banned(t, p, spec, way[q.Dir]+" -> "+importPath, importPath))
				}
				continue
			}
			if way[dir] != "" {
				continue
			}
			way[dir] = way[q.Dir] + " -> " + dir
			if matchAny(b.local, dir) {
				found = append(found, banned(t, p, spec, way[dir], dir))
			} else if next := byDir[dir]; next != nil {
				queue = append(queue, next)
			}
		}
	}
	return found
}

func codeImports(p *Package) []*ast.ImportSpec {
	var specs []*ast.ImportSpec
	for _, f := range p.code() {
		specs = append(specs, f.Syntax.Imports...)
	}
	return specs
}

func banned(t *Tree, p *Package, spec *ast.ImportSpec, way, target string) Violation {
	return Violation{At: t.at(spec.Pos()), Key: p.Dir + " " + target, What: "forbidden even from afar: " + way}
}
