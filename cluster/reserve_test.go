package cluster_test

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
)

func TestKeyOf(t *testing.T) {
	c := ident.UUID{0xab, 0xcd, 0xef, 1}
	k := cluster.KeyOf(c, 7, ident.Incarnation{N: 0x123456})
	if k != 0x48abcdef07123456 {
		t.Errorf("%#x", k)
	}
	if !cluster.OwnKey(c, k) || cluster.OwnKey(ident.UUID{1}, k) || cluster.OwnKey(c, 0x123abc) {
		t.Error("whose key it is")
	}
	if s := cluster.KeyText(k); !strings.Contains(s, "node 7, incarnation 1193046 of cluster abcdef") {
		t.Error(s)
	}
}
