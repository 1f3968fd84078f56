package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/cluster/timing"
	"github.com/holdfast-ha/holdfast/internal/api"
)

func member(id, spec, sole string) cluster.Member {
	return cluster.Member{ID: id, Kind: strings.TrimSuffix(id, "-2"), Spec: []byte(spec), Sole: sole}
}

func disk(n int) cluster.Member {
	return member("filesystem", fmt.Sprintf(`{"at":"/srv/%d","device":"/dev/d%d","options":"noatime"}`, n, n), fmt.Sprintf("filesystem /dev/d%d", n))
}

func address(n int) cluster.Member {
	return member("ip", fmt.Sprintf(`{"address":"192.0.2.%d/24"}`, n), fmt.Sprintf("ip 192.0.2.%d", n))
}

// ward is two nodes; orders and web run on alpha, nothing else.
func ward() (*cluster.View, *cluster.Config) {
	conf := &cluster.Config{Name: "ward", Services: []cluster.Service{
		{Name: "orders", Prefer: []string{"alpha"}, Stack: []cluster.Member{disk(1), address(1), member("systemd", `{"unit":"orders.service"}`, "")}},
		{Name: "web", Stack: []cluster.Member{member("ocf", `{"agent":"heartbeat:nginx","with":{"configfile":"/a"}}`, "")}},
	}}
	inc := func(n uint32) ident.Incarnation { return ident.Incarnation{N: n} }
	s := &cluster.State{Ver: 9, ConfigRev: 3, Config: []byte("present"), Conf: conf, Nodes: []cluster.NodeState{
		{ID: 1, Name: "alpha", Phase: cluster.MemberPhase, Inc: inc(1)}, {ID: 2, Name: "beta", Phase: cluster.MemberPhase, Inc: inc(2)},
	}, Services: []cluster.Grant{
		{Service: "orders", Owner: 1, Inc: inc(1), Term: 4}, {Service: "web", Owner: 1, Inc: inc(1), Term: 5},
	}}
	v := &cluster.View{Self: 1, Stage: "member", State: s, Nodes: []cluster.NodeView{s.Nodes[0].View(), s.Nodes[1].View()}}
	v.Nodes[0].Present, v.Nodes[1].Present = true, true
	next := *conf
	next.Services = nil
	for _, one := range conf.Services {
		one.Stack = append([]cluster.Member(nil), one.Stack...)
		next.Services = append(next.Services, one)
	}
	return v, &next
}

func planned(t *testing.T, v *cluster.View, next *cluster.Config) *api.Plan {
	t.Helper()
	tenth := api.Of(100 * time.Millisecond)
	return Of(&Question{View: v, Next: next, Text: "next", Lasted: map[string]api.Lasted{"orders": {Start: &tenth, Stop: &tenth}}})
}

func lines(list []api.PlanAction) string {
	var out []string
	for _, a := range list {
		out = append(out, fmt.Sprintf("%s %s %s>%s %s", a.Action, a.Service, a.From, a.To, a.Member))
	}
	return strings.Join(out, "; ")
}

func TestWhatAChangeDoes(t *testing.T) {
	for _, c := range []struct {
		what           string
		change         func(*cluster.View, *cluster.Config)
		acts, others   string
		changes, words string // parts of the changes, and of the reasons
	}{
		{"nothing but a comment", func(*cluster.View, *cluster.Config) {}, "", "stay orders alpha>alpha ; stay web alpha>alpha ", "text: its comments", ""},
		{"the last member changes", func(_ *cluster.View, n *cluster.Config) {
			n.Services[0].Stack[2].Spec = []byte(`{"unit":"other.service"}`)
		}, "restart orders alpha>alpha systemd", "stay web alpha>alpha ", "stack: systemd: unit: orders.service -> other.service", "systemd has changed"},
		{"the first one changes, but not what it uses", func(_ *cluster.View, n *cluster.Config) {
			n.Services[0].Stack[0].Spec = []byte(`{"at":"/srv/1","device":"/dev/d1","options":"noatime,ro"}`)
		}, "restart orders alpha>alpha ", "stay web alpha>alpha ", "options: noatime -> noatime,ro", "its stack has changed"},
		{"another disk, and the service stays on its node", func(_ *cluster.View, n *cluster.Config) {
			n.Services[0].Prefer, n.Services[0].Stack[0] = []string{"beta"}, disk(7)
		}, "restart orders alpha>alpha ", "stay web alpha>alpha ", "device: /dev/d1 -> /dev/d7", "takes filesystem /dev/d1 from it"},
		{"what can be taken over while it runs", func(_ *cluster.View, n *cluster.Config) {
			n.Services[1].Stack[0].Reloads = true
			n.Services[1].Stack[0].Spec = []byte(`{"agent":"heartbeat:nginx","with":{"configfile":"/b"}}`)
		}, "reload web alpha>alpha ocf", "stay orders alpha>alpha ", "with.configfile: /a -> /b", "if that is none of those"},
		{"only limits", func(_ *cluster.View, n *cluster.Config) { n.Services[0].Stack[0].Stop = time.Minute }, "", "stay orders alpha>alpha ; stay web alpha>alpha ", "limits of filesystem", "only rules and limits"},
		{"a place that is forbidden", func(_ *cluster.View, n *cluster.Config) {
			n.Services[0].Never, n.Services[0].Prefer = []string{"alpha"}, nil
		}, "move orders alpha>beta ", "stay web alpha>alpha ", "never: [] -> [alpha]", "alpha may not have it: never: names it"},
		{"a place that is forbidden to a guest that can be handed over", func(v *cluster.View, n *cluster.Config) {
			v.State.Conf.Services[1].Stack[0].Live = true
			n.Services[1].Never = []string{"alpha"}
		}, "move web alpha>beta ", "stay orders alpha>alpha ", "never: [] -> [alpha]", "live, paused for the hand-over"},
		{"what must be together goes together", func(_ *cluster.View, n *cluster.Config) {
			n.Services[0].Never, n.Services[0].Prefer, n.Services[0].With = []string{"alpha"}, nil, []string{"web"}
		}, "move orders alpha>beta ; move web alpha>beta ", "", "with: [] -> [web]", "with: orders cannot be there"},
		{"a failback that comes later", func(_ *cluster.View, n *cluster.Config) {
			n.Services[0].Prefer, n.Services[0].Failback = []string{"beta"}, cluster.Failback{Mode: cluster.Automatic, After: 10 * time.Minute}
		}, "move orders alpha>beta ", "stay web alpha>alpha ", "failback: manual -> automatic after 10m0s", "once beta has been a member for 10m00s"},
		{"a service that is removed", func(_ *cluster.View, n *cluster.Config) { n.Services = n.Services[:1] }, "stop web alpha> ", "stay orders alpha>alpha ", "service web: ocf", "removed from the configuration"},
		{"another name", func(_ *cluster.View, n *cluster.Config) { n.Services[1].Name = "www" }, "stop web alpha> ; start www >beta ", "stay orders alpha>alpha ", "service web: is now called www", "so far it is web, which is stopped first"},
		{"an address goes to another service", func(_ *cluster.View, n *cluster.Config) {
			o := &n.Services[0]
			n.Services[1].Stack = append(n.Services[1].Stack, o.Stack[1])
			o.Stack = []cluster.Member{o.Stack[0], o.Stack[2]}
		}, "restart orders alpha>alpha ; restart web alpha>alpha ip", "", "without ip, which goes to web|with ip, which comes from orders", "takes ip 192.0.2.1 from it|ip is added at its end"},
		{"two members change places", func(_ *cluster.View, n *cluster.Config) {
			s := n.Services[0].Stack
			s[0], s[1] = s[1], s[0]
		}, "restart orders alpha>alpha ", "stay web alpha>alpha ", "filesystem moves from place 1 to 2", ""},
		{"a frozen service waits", func(v *cluster.View, n *cluster.Config) {
			v.State.Services[1].Frozen = true
			n.Services[1].Stack[0].Spec = []byte(`{"agent":"heartbeat:nginx","with":{"configfile":"/b"}}`)
		}, "", "stay orders alpha>alpha ; stay web alpha>alpha ", "with.configfile: /a -> /b", "started again later: it is frozen until holdfast service unfreeze web"},
		{"a secret is not shown", func(_ *cluster.View, n *cluster.Config) {
			n.Services[1].Stack[0].Spec = []byte(`{"agent":"heartbeat:nginx","with":{"configfile":"/a","password":"hunter2"}}`)
		}, "restart web alpha>alpha ", "stay orders alpha>alpha ", "with.password: none -> (not shown)", ""},
		{"fencing is told by its ways", func(_ *cluster.View, n *cluster.Config) {
			n.Fencing = []cluster.Ways{{Node: "beta", Ways: []cluster.Way{{Kind: "bmc"}, {Kind: "agent", Agent: "fence_pdu", With: map[string]string{"password": "hunter2"}}}}}
		}, "", "stay orders alpha>alpha ; stay web alpha>alpha ", "fencing of beta: bmc, fence_pdu", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			v, next := ward()
			c.change(v, next)
			p := planned(t, v, next)
			if got := lines(p.Actions); got != c.acts {
				t.Errorf("actions %q, want %q", got, c.acts)
			}
			if got := lines(p.Others); got != c.others {
				t.Errorf("others %q, want %q", got, c.others)
			}
			changes, reasons := fmt.Sprint(p.Changes), fmt.Sprint(p.Actions, p.Others)
			for _, part := range strings.Split(c.changes, "|") {
				if !strings.Contains(strings.ReplaceAll(changes, "{service web remove ocf}", "service web: ocf"), part) && !strings.Contains(colons(p), part) {
					t.Errorf("changes %s, want %q", changes, part)
				}
			}
			for _, part := range strings.Split(c.words, "|") {
				if !strings.Contains(reasons, part) {
					t.Errorf("reasons %s, want %q", reasons, part)
				}
			}
			if strings.Contains(changes+reasons, "hunter2") {
				t.Error("a password is shown")
			}
			if len(p.Problems) > 0 {
				t.Errorf("problems %q", p.Problems)
			}
		})
	}
}

func colons(p *api.Plan) string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, c.What+": "+c.Text)
	}
	return strings.Join(out, "\n")
}

func TestWhatCannotBe(t *testing.T) {
	v, next := ward()
	v.State.Nodes[1].Standby = true
	next.Services[0].Never, next.Services[0].Prefer = []string{"alpha"}, nil
	next.Services = append(next.Services, cluster.Service{Name: "zeta", Only: []string{"beta"}, Stack: []cluster.Member{address(9)}})
	p := planned(t, v, next)
	if len(p.Problems) != 2 || !strings.Contains(p.Problems[0], "service orders: no node can run it: beta: it is on standby; alpha: never: names it") ||
		!strings.Contains(p.Problems[1], "service zeta") {
		t.Errorf("problems %q", p.Problems)
	}
	if len(p.Advice) != 0 {
		t.Errorf("advice %q", p.Advice)
	}
	v.State.Life.Stop.On = true
	if p = planned(t, v, next); len(p.Problems) > 0 {
		t.Errorf("a stopped cluster refuses: %q", p.Problems)
	}
}

func TestHowLongItTakes(t *testing.T) {
	v, next := ward()
	for i := range next.Services {
		next.Services[i].Never, next.Services[i].Prefer = []string{"alpha"}, nil
	}
	p := planned(t, v, next)
	if a := p.Actions[0]; a.Service != "orders" || !a.Measured || a.Interruption.Duration() != 200*time.Millisecond {
		t.Errorf("orders, whose stop and start were measured: %+v", a)
	}
	if a := p.Actions[1]; a.Service != "web" || a.Measured || a.Interruption.Duration() != 2*assumed {
		t.Errorf("web, of which nothing is known: %+v", a)
	}
	if len(p.Actions[0].Nodes) != 2 || p.Actions[0].Nodes[1].Able {
		t.Errorf("the verdict on the nodes: %+v", p.Actions[0].Nodes)
	}
}

// TestMeasuredTimeouts: watchdogs that were measured with one timeout only keep it
// when the rest of the configuration changes, as when every node gets a way to cut
// its power, by which services are kept through the loss of the disks.
func TestMeasuredTimeouts(t *testing.T) {
	in := timing.Input{SecondHolder: true, Grace: timing.DefaultGrace, FailoverWithin: 8500 * time.Millisecond}
	for _, name := range []string{"soft", "hard"} {
		in.Devices = append(in.Devices, timing.Device{
			Name: name, Class: timing.Qualified, Software: name == "soft", Timeout: 5 * time.Second, TMax: 5300 * time.Millisecond, At: 5 * time.Second,
		})
	}
	table, err := timing.Derive(in)
	if err != nil {
		t.Fatal(err)
	}
	v, next := ward()
	v.Timing, v.State.Conf.FailoverWithin, v.State.Conf.Grace = table, in.FailoverWithin, in.Grace
	next.FailoverWithin, next.KeepOnDiskLoss = in.FailoverWithin, true
	if p := planned(t, v, next); len(p.Problems) > 0 {
		t.Errorf("refused: %v", p.Problems)
	}
	next.FailoverWithin = 4 * time.Second
	if p := planned(t, v, next); len(p.Problems) == 0 {
		t.Error("4 s with watchdogs of 5 s were not refused")
	}
}

// What nodes say that they lack decides where a service goes before anything is
// stopped; what is not known is said and hinders nothing.
func TestWhatNodesLack(t *testing.T) {
	v, next := ward()
	next.Services = append(next.Services, cluster.Service{Name: "zeta", Prefer: []string{"beta"}, Stack: []cluster.Member{address(9)}})
	fits := map[string][]api.Fitness{
		"alpha": {{Service: "zeta", Verdict: api.Fits}},
		"beta":  {{Service: "zeta", Verdict: api.FitLacks, Text: "ip: no interface has 192.0.2.0/24"}},
	}
	p := Of(&Question{View: v, Next: next, Text: "next", Fits: fits})
	if got := lines(p.Actions); got != "start zeta >alpha " {
		t.Errorf("actions %q", got)
	}
	if c := p.Actions[0].Nodes[1]; c.Node != "beta" || c.Able || !strings.Contains(c.Reason, "no interface has 192.0.2.0/24") {
		t.Errorf("beta: %+v", c)
	}
	fits["alpha"] = []api.Fitness{{Service: "zeta", Verdict: api.FitLacks, Text: "secret a is missing on this node"}}
	if p = Of(&Question{View: v, Next: next, Text: "next", Fits: fits}); len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "secret a is missing") {
		t.Errorf("problems %q", p.Problems)
	}
	fits["beta"] = []api.Fitness{{Service: "zeta", Verdict: api.FitUnknown, Text: "its daemon does not answer"}}
	p = Of(&Question{View: v, Next: next, Text: "next", Fits: fits})
	if got := lines(p.Actions); got != "start zeta >beta " || !strings.Contains(p.Actions[0].Nodes[0].Unknown, "does not answer") {
		t.Errorf("actions %q, %+v", got, p.Actions)
	}
	v, next = ward() // what beats say of a service that goes is forgotten with it
	v.Nodes[1].Lacks = []cluster.RunState{{Service: "web", Text: "no agent heartbeat:nginx"}}
	next.Services = next.Services[:1]
	if got := lines(planned(t, v, next).Actions); got != "stop web alpha> " {
		t.Errorf("actions %q", got)
	}
	v, next = ward() // what runs is not moved away for what its own node says
	next.Services[1].Stack[0].Spec = []byte(`{"agent":"heartbeat:other"}`)
	p = Of(&Question{View: v, Next: next, Text: "next", Fits: map[string][]api.Fitness{"alpha": {{Service: "web", Verdict: api.FitLacks, Text: "no agent heartbeat:other"}}}})
	if got := lines(p.Actions); got != "restart web alpha>alpha " {
		t.Errorf("actions %q", got)
	}
	if c := p.Actions[0].Nodes; !strings.Contains(c[0].Unknown+c[1].Unknown, "no agent heartbeat:other") {
		t.Errorf("%+v", c)
	}
}

// TestAdvice: what is taken and could serve better is said of the nodes that there are.
func TestAdvice(t *testing.T) {
	v, next := ward()
	next.Services[0].Stack = append([]cluster.Member{{ID: "filesystem", Kind: "filesystem", Storage: true, Guarded: true, Spec: []byte(`{"device":"/dev/x"}`)}}, next.Services[0].Stack...)
	if p := planned(t, v, next); len(p.Advice) != 1 || !strings.Contains(p.Advice[0], next.Services[0].Name+" is guarded by reservations") || !strings.Contains(p.Advice[0], "fencing.ways of alpha, beta") {
		t.Errorf("advice %q", p.Advice)
	}
	v.State.Conf, next = next, v.State.Conf
	if p := planned(t, v, next); len(p.Advice) != 1 || !strings.Contains(p.Advice[0], "stays on /dev/x") {
		t.Errorf("advice %q", p.Advice)
	}
}
