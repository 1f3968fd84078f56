package archtest

// planRows are about looking ahead: what another configuration would do.
func planRows() []row {
	return []row{
		{
			tree: "resources/secret", may: []string{"bmc"},
			why: "secrets of services are read as those of power switches are, and known to nobody else",
		},
		{
			tree: "internal/daemon/fitness", may: []string{"internal/api", "resources"},
			why: "whether something could run here is asked of the kinds of resources, and passed on",
		},
		{
			tree: "cluster/revise", may: []string{"cluster"},
			why: "what a configuration changes in a state is the same for whoever applies it and for whoever looks ahead",
		},
		{
			tree: "cluster/foresee", may: []string{"cluster", "cluster/allot", "cluster/ident", "cluster/placement", "cluster/revise", "cluster/services", "cluster/sight"},
			why: "what a configuration would do is asked of those who decide it; nothing is changed",
		},
		{
			tree: "internal/guarded", may: []string{"cluster"},
			why: "what a configuration says of reservations is read by who works on them, who looks and who plans",
		},
		{
			tree: "internal/api/plan", may: []string{"cluster", "cluster/foresee", "cluster/timing", "internal/api", "internal/guarded"},
			why: "a plan is what the engine foresees, in words; it asks nobody",
		},
		{
			tree: "internal/ctl/plancmd", may: []string{"internal/api", "internal/config", "internal/ctl/screen", "internal/ctl/shell"},
			why: "a plan is made by the daemon; the command reads a file and shows what came back",
		},
	}
}
