package guarded_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/guarded"
)

// Which LUNs a service stands on, whatever kinds its storage is of.
func TestDevicesOfAStack(t *testing.T) {
	member := func(kind, spec string) cluster.Member {
		return cluster.Member{ID: kind, Kind: kind, Spec: []byte(spec), Storage: true}
	}
	for _, c := range []struct {
		stack []cluster.Member
		want  string
	}{
		{[]cluster.Member{member("filesystem", `{"device": "/dev/a"}`), member("filesystem", `{"device": "/dev/a"}`)}, "[/dev/a] <nil>"},
		{[]cluster.Member{
			member("multipath", `{"map": "m"}`), member("lvm", `{"group": "vg-x", "devices": ["/dev/b", "/dev/a"]}`),
			member("filesystem", `{"device": "/dev/vg-x/data"}`), member("filesystem", `{"device": "/dev/mapper/vg--x-logs"}`),
		}, "[/dev/b /dev/a] <nil>"},
		{[]cluster.Member{member("iscsi", `{"target": "iqn.x"}`), member("filesystem", `{"device": "/dev/a"}`)}, "[/dev/a] <nil>"},
		{[]cluster.Member{member("iscsi", `{"target": "iqn.x", "devices": ["/dev/b", "/dev/a"]}`), member("filesystem", `{"device": "/dev/a"}`)}, "[/dev/b /dev/a] <nil>"},
		{[]cluster.Member{member("iscsi", `{"target": "iqn.x"}`)}, "[] iscsi of service s names no device: its LUNs cannot be guarded by reservations"},
		{[]cluster.Member{member("lvm", `{"group": "vg"}`)}, "[] lvm of service s names no device: its LUNs cannot be guarded by reservations"},
	} {
		list, err := guarded.Devices(&cluster.Service{Name: "s", Stack: c.stack})
		if got := fmt.Sprintf("%v %v", list, err); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestAdvice: who is guarded and not fenced by it is named, once, and nobody else.
func TestAdvice(t *testing.T) {
	disk := []cluster.Member{{ID: "filesystem", Kind: "filesystem", Storage: true, Guarded: true}}
	reserved, power := []cluster.Way{{Kind: cluster.WayReservation}}, []cluster.Way{{Kind: cluster.WayBMC}}
	names := []string{"alpha", "beta", "gamma"}
	for _, c := range []struct {
		ways     []cluster.Ways
		services []cluster.Service
		want     string
	}{
		{nil, []cluster.Service{{Name: "web", Stack: []cluster.Member{{ID: "ip", Kind: "ip"}}}}, ""},
		{nil, []cluster.Service{{Name: "db", Stack: disk}}, "db of alpha, beta, gamma"},
		{[]cluster.Ways{{Node: "alpha", Ways: reserved}, {Node: "beta", Ways: power}}, []cluster.Service{{Name: "db", Stack: disk}}, "db of beta, gamma"},
		{[]cluster.Ways{{Node: "alpha", Ways: reserved}}, []cluster.Service{{Name: "db", Stack: disk, Only: []string{"alpha"}}, {Name: "mail", Stack: disk, Never: []string{"beta"}}}, "mail of gamma"},
		{
			[]cluster.Ways{{Node: "alpha", Ways: append(power, reserved...)}, {Node: "beta", Ways: reserved}, {Node: "gamma", Ways: reserved}},
			[]cluster.Service{{Name: "db", Stack: disk}},
			"",
		},
	} {
		var got []string
		for _, text := range guarded.Advice(&cluster.Config{Fencing: c.ways, Services: c.services}, names) {
			service, rest, _ := strings.Cut(text, " is guarded by reservations, but reservation does not stand under fencing.ways")
			of, _, _ := strings.Cut(rest, ":")
			got = append(got, service+of)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if guarded.Advice(nil, names) != nil {
		t.Error("advice of no configuration")
	}
}
