package archtest

// guardRows are about the guard and its parts.
func guardRows() []row {
	return []row{
		{
			tree: "internal/guard/mailbox", may: []string{"cluster/ident", "quorumdisk", "sbd", "storage"},
			why: "it finds and reads a mailbox; what a message does is the guard's",
		},
		{
			tree: "internal/guard/arming",
			may:  []string{"cluster", "cluster/ident", "sbd/watchdog", "internal/clock", "internal/guardwire"},
			why:  "what the devices are and what may rest on them is found once, before anything is fed",
		},
		{
			tree: "internal/guard/cut", may: []string{"cluster/ident", "internal/clock"},
			why: "a drill that cuts the disks is an end on a clock, and knows no disk",
		},
		{
			tree: "internal/guard/holding", may: []string{"sbd/watchdog/holder", "internal/guard/realtime"},
			why: "who only holds descriptors knows nothing of what they are",
		},
		{
			tree: "internal/guard/handover", may: []string{"internal/guardwire", "sbd/watchdog"},
			why: "one guard leaves descriptors and a packet to the next; what these mean is the guard's",
		},
		{
			tree: "internal/guard",
			may: []string{
				"cluster", "cluster/ident", "cluster/lease", "cluster/quorum", "quorumdisk", "quorumdisk/place", "sbd", "sbd/watchdog", "storage",
				"internal/clock", "internal/guardwire", "internal/guardwire/gauge", "internal/guard/...", "internal/build",
			},
			why: "the guard beats, feeds and resets; it is small enough to read in one sitting and has no heartbeat, BMC, resources or YAML",
		},
	}
}
