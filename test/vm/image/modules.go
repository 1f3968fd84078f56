package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// module is a file of the kernel, ready to be loaded.
type module struct {
	name    string // in the words of the kernel: with underscores
	content []byte
	depends []string
}

// modules reads the named modules and all that they depend on, each behind what it depends on.
func (k Kernel) modules(names []string) ([]module, error) {
	index, err := k.index()
	if err != nil {
		return nil, err
	}
	var list []module
	seen, err := k.builtin()
	if err != nil {
		return nil, err
	}
	var add func(name string) error
	add = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		if seen[name] {
			return nil
		}
		seen[name] = true
		m, err := readModule(name, index[name])
		if err != nil {
			return fmt.Errorf("module %s of %s: %w", name, k.Release, err)
		}
		for _, d := range m.depends {
			if err := add(d); err != nil {
				return err
			}
		}
		list = append(list, m)
		return nil
	}
	for _, n := range names {
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// builtin are the modules that are part of the kernel file.
func (k Kernel) builtin() (map[string]bool, error) {
	text, err := os.ReadFile(filepath.Join(k.tree, "modules.builtin"))
	names := map[string]bool{}
	for _, line := range strings.Fields(string(text)) {
		name, _, _ := strings.Cut(filepath.Base(line), ".ko")
		names[strings.ReplaceAll(name, "-", "_")] = true
	}
	return names, err
}

// index finds all modules by name.
func (k Kernel) index() (map[string]string, error) {
	index := map[string]string{}
	err := filepath.WalkDir(k.tree, func(path string, d fs.DirEntry, err error) error {
		if name, _, is := strings.Cut(filepath.Base(path), ".ko"); is && err == nil && !d.IsDir() {
			index[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	return index, err
}

func readModule(name, path string) (module, error) {
	if path == "" {
		return module{}, fs.ErrNotExist
	}
	m := module{name: name}
	b, err := os.ReadFile(path)
	if err == nil {
		b, err = decompress(b)
	}
	if err != nil {
		return m, err
	}
	m.content = unsigned(b)
	f, err := elf.NewFile(bytes.NewReader(m.content))
	if err != nil {
		return m, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return m, fmt.Errorf("no .modinfo in %s", path)
	}
	info, err := section.Data()
	if err != nil {
		return m, err
	}
	for _, entry := range strings.Split(string(info), "\x00") {
		if list, is := strings.CutPrefix(entry, "depends="); is && list != "" {
			m.depends = strings.Split(list, ",")
		}
	}
	return m, nil
}

// unsigned cuts off the signature of a module: without one the kernel verifies nothing, which is half of the time that
// loading takes under emulation. The layout is that of the kernel's scripts/sign-file.c: module, signature, a struct of
// twelve bytes whose last four are the length of the signature, a magic text.
func unsigned(b []byte) []byte {
	const magic, info = "~Module signature appended~\n", 12
	if !bytes.HasSuffix(b, []byte(magic)) || len(b) < len(magic)+info {
		return b
	}
	end := len(b) - len(magic)
	n := int(binary.BigEndian.Uint32(b[end-4:]))
	if n < 0 || n > end-info {
		return b
	}
	return b[:end-info-n]
}
