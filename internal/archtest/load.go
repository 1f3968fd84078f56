package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// Tree is the parsed source of one module.
type Tree struct {
	// Module is the module path from go.mod, the prefix of every import path of this module.
	Module string
	// Packages are the folders with Go files, sorted by folder.
	Packages []*Package

	fset *token.FileSet
}

// Package is one folder with Go files.
type Package struct {
	// Dir is the folder below the module root, with forward slashes.
	Dir string
	// Name is the name in the package clause of the files that are not tests; of the tests where there is nothing else.
	Name string
	// Files are all Go files of the folder, whatever their build constraints, sorted by name.
	Files []*File
}

// File is one parsed Go file.
type File struct {
	// Path is the file below the module root, with forward slashes.
	Path string
	// Test says that the name ends in _test.go.
	Test bool
	// Lines is the number of lines in the file.
	Lines int
	// Syntax is the parsed file with its comments.
	Syntax *ast.File
}

// Load parses every Go file of the module whose root is fsys. It passes over testdata, vendor, folders whose name begins
// with a dot or an underscore, and folders with a go.mod of their own, as the go command does. A file that does not parse
// is an error, and so is a root without a module line in go.mod.
func Load(fsys fs.FS) (*Tree, error) {
	module, err := modulePath(fsys)
	if err != nil {
		return nil, err
	}
	t := &Tree{Module: module, fset: token.NewFileSet()}
	packages := map[string]*Package{}
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("walk %s: %w", name, err)
		}
		if entry.IsDir() {
			if skipFolder(fsys, name) {
				return fs.SkipDir
			}
			return nil
		}
		base := path.Base(name)
		if !strings.HasSuffix(base, ".go") || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
			return nil
		}
		return t.add(fsys, packages, name)
	})
	if err != nil {
		return nil, err
	}
	for _, p := range packages {
		t.Packages = append(t.Packages, p)
	}
	sort.Slice(t.Packages, func(i, j int) bool { return t.Packages[i].Dir < t.Packages[j].Dir })
	return t, nil
}

func (t *Tree) add(fsys fs.FS, packages map[string]*Package, name string) error {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	dir := path.Dir(name)
	p := packages[dir]
	if p == nil {
		p = &Package{Dir: dir, Name: strings.TrimSuffix(syntax.Name.Name, "_test")}
		packages[dir] = p
	}
	f := &File{Path: name, Test: strings.HasSuffix(name, "_test.go"), Lines: bytes.Count(src, []byte("\n")), Syntax: syntax}
	if !f.Test {
		p.Name = syntax.Name.Name
	}
	p.Files = append(p.Files, f)
	return nil
}

func modulePath(fsys fs.FS) (string, error) {
	src, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return "", fmt.Errorf("read the module's root: %w", err)
	}
	for line := range strings.Lines(string(src)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(rest), nil
		}
	}
	return "", fmt.Errorf("go.mod: no module line")
}

func skipFolder(fsys fs.FS, name string) bool {
	if name == "." {
		return false
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(name, "go.mod"))
	return err == nil
}

// code yields the files of p that are not tests.
func (p *Package) code() []*File {
	var files []*File
	for _, f := range p.Files {
		if !f.Test {
			files = append(files, f)
		}
	}
	return files
}

// support says that p exists for the tests of other packages: its folder's name ends in "test", as in storagetest.
func (p *Package) support() bool {
	return isSupport(p.Dir)
}

func isSupport(dir string) bool {
	base := path.Base(dir)
	return strings.HasSuffix(base, "test") && base != "test" && dir != "internal/archtest"
}

// at gives a position in the form path:line.
func (t *Tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

// span gives the number of lines from the line of one position to the line of another, both counted.
func (t *Tree) span(from, to token.Pos) int {
	return t.fset.Position(to).Line - t.fset.Position(from).Line + 1
}

// local gives the folder of an import path of this module, and false for any other import path.
func (t *Tree) local(importPath string) (string, bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// imported gives the path of an import.
func imported(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}

// nameOf gives the name under which f imports a package of the standard library whose name is the last element of its
// path, or the empty string where it does not.
func nameOf(f *File, importPath string) string {
	for _, spec := range f.Syntax.Imports {
		if imported(spec) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}
