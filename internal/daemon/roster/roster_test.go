package roster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
)

// TestKeep: both files follow the disks that count. While two sets do, guard.conf
// names both and node.yaml the newer; a disk that nobody has found is left out.
func TestKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	conf := filepath.Join(filepath.Dir(file), "guard.conf")
	id := func(c byte) ident.UUID { return ident.UUID{c} }
	s := &guardwire.Settings{
		Node: 1, Name: "alpha", Cluster: id('c'), Layout: guardwire.Layout{NMax: 16, Sector: 512}, Key: "/etc/key", Run: "/run/holdfast",
		Disks: []guardwire.DiskSetting{{Path: "/a", UUID: id('a')}},
	}
	text, err := s.Marshal()
	if err := errors.Join(err, os.WriteFile(conf, text, 0o644)); err != nil {
		t.Fatal(err)
	}
	n := &config.Node{Name: "alpha", ID: 1, Cluster: config.ClusterRef{Name: "ward", ID: id('c'), Epoch: 2}, Key: "/etc/key"}
	for _, c := range "abcd" {
		n.Disks = append(n.Disks, config.QuorumDisk{Path: "/" + string(c), UUID: id(byte(c))})
	}
	r := New(n, file)
	for _, c := range []struct {
		what  string
		uses  map[byte]uint8
		node  string // paths in node.yaml
		guard string // path and set in guard.conf
	}{
		{"settled", map[byte]uint8{'a': 1, 'b': 1, 'c': 1}, "/a /b /c", "/a:both /b:both /c:both"},
		{"joint", map[byte]uint8{'a': 3, 'b': 3, 'c': 2, 'd': 1}, "/a /b /d", "/a:both /b:both /c:old /d:new"},
		{"one is nowhere: the files stay", map[byte]uint8{'a': 1, 'b': 1, 'x': 1}, "/a /b /d", "/a:both /b:both /c:old /d:new"},
		{"settled anew", map[byte]uint8{'a': 1, 'b': 1, 'c': 0, 'd': 1}, "/a /b /d", "/a:both /b:both /d:both"},
	} {
		var uses []cluster.DiskUse
		for _, d := range []byte("abcdx") {
			if sets, ok := c.uses[d]; ok {
				uses = append(uses, cluster.DiskUse{Place: len(uses), UUID: id(d), Sets: sets})
			}
		}
		if err := r.Keep(uses); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		var node, guard []string
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "- path: "); ok {
				node = append(node, strings.Trim(path, `"`))
			}
		}
		if text, err = os.ReadFile(conf); err != nil {
			t.Fatal(err)
		}
		g, err := guardwire.ParseSettings(conf, text)
		if err != nil || g.Layout.Epoch != 2 {
			t.Fatalf("%s: %+v, %v", c.what, g, err)
		}
		for _, d := range g.Disks {
			guard = append(guard, d.Path+":"+d.Set.String())
		}
		if got := strings.Join(node, " "); got != c.node {
			t.Errorf("%s: node.yaml has %s", c.what, got)
		}
		if got := strings.Join(guard, " "); got != c.guard {
			t.Errorf("%s: guard.conf has %s", c.what, got)
		}
	}
	if _, err := r.Find(id('x'), filepath.Join(filepath.Dir(file), "nothing")); !errors.Is(err, ErrNowhere) {
		t.Errorf("a disk that is nowhere: %v", err)
	}
	if p, err := r.Find(id('b'), ""); err != nil || p != "/b" {
		t.Errorf("a disk that is known: %s, %v", p, err)
	}
}
