package config_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/config"
)

const many = `
cluster: {name: c, failover_within: 10s}
nodes:
  alpha: {offers: {memory: 64G, cores: 16}}
  beta: {offers: {memory: 8G}}
services:
  web:
    copies: 2
    checks: 2 of 3
    stop_grace: 30s
    needs: {memory: 512M, cores: 2}
    stack:
      - exec: {run: /usr/bin/web}
  agent:
    everywhere: true
    stack:
      - exec: {run: /usr/bin/agent}
  front:
    after: [web]
    apart_from: [web]
    stack:
      - ip: {address: 192.0.2.10/24}
`

// Copies are services of their own, apart from each other; what is said of their
// service is said of each of them.
func TestCopies(t *testing.T) {
	conf, err := config.ParseCluster("cluster.yaml", []byte(many), config.KnownNodes([]string{"alpha", "beta"}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(conf.Services); n != 2+cluster.MostCopies+1 {
		t.Errorf("%d services", n)
	}
	two, ok := conf.Service("web@2")
	if !ok {
		t.Fatal("there is no web@2")
	}
	want := cluster.Service{
		Name: "web@2", ApartFrom: []string{"web@1"}, Copy: cluster.Copy{Of: "web", Number: 2},
		Patience: cluster.Patience{Fails: 2, Of: 3, Stop: 30 * time.Second},
		Needs:    []cluster.Amount{{Name: "cores", Value: 2}, {Name: "memory", Value: 512 << 20}},
		Stack:    two.Stack,
	}
	if !reflect.DeepEqual(*two, want) {
		t.Errorf("%+v\nwant %+v", *two, want)
	}
	front, _ := conf.Service("front")
	if !reflect.DeepEqual(front.ApartFrom, []string{"web@1", "web@2"}) || !reflect.DeepEqual(front.After, []string{"web"}) {
		t.Errorf("%+v", front)
	}
	if got := conf.Copies("web"); !reflect.DeepEqual(got, []string{"web@1", "web@2"}) {
		t.Error(got)
	}
	if got := conf.Copies("front"); !reflect.DeepEqual(got, []string{"front"}) || conf.Copies("nothing") != nil {
		t.Error(got)
	}
	offers := []cluster.Offer{
		{Node: "alpha", Has: []cluster.Amount{{Name: "cores", Value: 16}, {Name: "memory", Value: 64 << 30}}},
		{Node: "beta", Has: []cluster.Amount{{Name: "memory", Value: 8 << 30}}},
	}
	if !reflect.DeepEqual(conf.Offers, offers) {
		t.Errorf("%+v", conf.Offers)
	}
	sorted := slices.IsSortedFunc(conf.Services, func(a, b cluster.Service) int { return strings.Compare(a.Name, b.Name) })
	if !sorted {
		t.Error("the services are not sorted")
	}
}

func TestCopiesThatCannotBe(t *testing.T) {
	for _, c := range []struct{ was, is, want string }{
		{"exec: {run: /usr/bin/web}", "filesystem: {device: /dev/x, at: /srv/x}", "cannot have filesystem: only one node may use it"},
		{"exec: {run: /usr/bin/web}", "ip: {address: 192.0.2.11/24}", "cannot have ip: only one node"},
		{"    copies: 2", "    copies: 2\n    everywhere: true", "contradict each other"},
		{"    copies: 2", "    copies: 2\n    with: [front]", "is with no other one"},
		{"    copies: 2", "    copies: 40", "40"},
		{"after: [web]", "with: [web]", "runs on several nodes"},
		{"after: [web]", "after: [web@1]", "is no service name"},
		{"memory: 512M", "memory: 12X", `"12X" is no amount`},
		{"memory: 512M", "memory: 65G", "no node offers so much"},
		{"beta: {offers", "gamma: {offers", `there is no node "gamma"`},
		{"exec: {run: /usr/bin/agent}", "ip: {address: 192.0.2.10/24}", "cannot have ip"},
		{"    everywhere: true\n    stack:\n      - exec: {run: /usr/bin/agent}", "    stack:\n      - ip: {address: 192.0.2.10/16}", "ip 192.0.2.10 is in the service agent already"},
		{"checks: 2 of 3", "checks: 4 of 3", "is not COUNT of COUNT"},
	} {
		src := strings.Replace(many, c.was, c.is, 1)
		if src == many {
			t.Fatalf("%q does not stand in the text", c.was)
		}
		_, err := config.ParseCluster("cluster.yaml", []byte(src), config.KnownNodes([]string{"alpha", "beta"}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.is, err, c.want)
		}
	}
}
