package archtest

// ctlRows are about the parts of the command line.
func ctlRows() []row {
	return []row{
		{
			tree: "internal/ctl/screen", may: []string{"internal/api", "internal/api/steps", "internal/config/...", "cluster/..."},
			why: "what the administrator sees is made from values, and tested without a cluster",
		},
		{
			tree: "internal/ctl/offline",
			may:  []string{"cluster/...", "internal/api/...", "internal/build", "internal/daemon/journal", "internal/decisions"},
			why:  "where no daemon runs its files are read as it would read them, and explained in its words",
		},
		{
			tree: "internal/ctl/power", may: []string{"bmc", "bmc/drivers", "cluster/ident", "internal/config"},
			why: "whether a controller is this machine's own is asked of both, once, before a node is made; nothing is switched",
		},
		{
			tree: "internal/ctl/doctor",
			may:  []string{"internal/ctl/...", "internal/api", "internal/config", "internal/daemon/journal", "internal/doctor/...", "cluster", "sbd/watchdog"},
			why:  "the doctor looks at this machine, asks its daemon, and changes only what it has shown",
		},
		{
			tree: "internal/ctl/story", may: []string{"internal/ctl/...", "internal/api", "internal/daemon/journal", "internal/incidents"},
			why: "what happened is told by the daemons, or read from the files that they left",
		},
		{
			tree: "internal/ctl/report", may: []string{"internal/ctl/...", "internal/api", "internal/config", "internal/decisions", "internal/scrub"},
			why: "what leaves the machine is what commands print, and goes through one place that takes secrets out",
		},
		{tree: "internal/ctl/live", may: []string{"internal/ctl/shell"}, why: "a terminal shows any text; it knows none"},
		{
			tree: "internal/ctl/statuscmd", may: []string{"internal/api", "internal/ctl/live", "internal/ctl/screen", "internal/ctl/shell"},
			why: "a status is asked for and drawn, and nothing is changed",
		},
		{
			tree: "internal/ctl/drill", may: []string{"internal/api", "internal/incidents", "internal/rehearsal", "internal/ctl/screen", "internal/ctl/shell"},
			why: "a drill asks the daemon, step by step, and touches nothing itself",
		},
		{
			tree: "internal/ctl/simulate",
			may:  []string{"cluster/...", "internal/api/...", "internal/ctl/...", "internal/decisions"},
			why:  "what would happen is the engine's answer, from the daemon or from its log",
		},
		{
			tree: "internal/ctl/recovery",
			may: []string{
				"internal/ctl/...", "internal/config/...", "internal/guardwire", "internal/clock", "internal/guard/mark", "internal/daemon/journal",
				"internal/daemon/roster", "cluster/...", "quorumdisk/...", "sbd", "storage",
			},
			why: "the way back works where no daemon can: it takes the daemon's place on one node, and its files",
		},
		{
			tree: "internal/ctl/dogcmd",
			may: []string{
				"internal/ctl/...", "internal/config/...", "internal/guardwire", "internal/clock", "internal/guard/realtime",
				"cluster/...", "quorumdisk/...", "sbd/watchdog/...", "storage",
			},
			why: "who measures a watchdog plays its guard for as long, and has to be as punctual",
		},
		{
			tree: "internal/ctl/...",
			may: []string{
				"internal/ctl/...", "internal/api", "internal/config/...", "internal/decisions", "internal/guardwire", "internal/clock", "internal/build",
				"cluster/...", "quorumdisk/...", "sbd", "sbd/watchdog/...", "storage", "storage/kind", "storage/signature",
			},
			why: "the command line talks to the daemon, and works on disks alone when no daemon runs; it starts, stops and fences nothing itself",
		},
	}
}
