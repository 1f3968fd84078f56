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

// TestLeft: what stays when a guard goes is named with what ends it, and nothing that
// is guarded afterwards, too.
func TestLeft(t *testing.T) {
	service := func(name string, guarded bool, devices ...string) cluster.Service {
		s := cluster.Service{Name: name}
		for i, d := range devices {
			s.Stack = append(s.Stack, cluster.Member{
				ID: fmt.Sprintf("filesystem-%d", i), Kind: "filesystem", Storage: true, Guarded: guarded, Spec: fmt.Appendf(nil, `{"device":%q}`, d),
			})
		}
		return s
	}
	sessions := service("mail", true, "/dev/c")
	sessions.Stack = append(sessions.Stack, cluster.Member{ID: "iscsi", Kind: "iscsi", Storage: true, Guarded: true, Spec: []byte(`{"target":"iqn.x","devices":["/dev/c"]}`)})
	now := []cluster.Service{service("db", true, "/dev/a", "/dev/b"), sessions, service("web", false, "/dev/d")}
	for _, c := range []struct {
		name string
		next []cluster.Service
		want []string
	}{
		{"nothing changes", now, nil},
		{"a service is renamed", []cluster.Service{service("data", true, "/dev/a", "/dev/b"), sessions}, nil},
		{"a guard goes", []cluster.Service{service("db", false, "/dev/a", "/dev/b"), sessions}, []string{"--param-rk=KEY /dev/a", "--param-rk=KEY /dev/b"}},
		{"a disk goes", []cluster.Service{service("db", true, "/dev/b"), sessions}, []string{"--param-rk=KEY /dev/a"}},
		{"a service goes", now[:1], []string{"--param-rk=KEY /dev/c", "iscsiadm -m node -T iqn.x --logout"}},
	} {
		got := guarded.Left(&cluster.Config{Services: now}, &cluster.Config{Services: c.next})
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", c.name, got)
			continue
		}
		for i, text := range got {
			if !strings.HasSuffix(text, c.want[i]) {
				t.Errorf("%s: %q, want it to end with %q", c.name, text, c.want[i])
			}
		}
	}
	if guarded.Left(nil, &cluster.Config{}) != nil {
		t.Error("something was left by no configuration")
	}
}
