package archtest

// worldRows are about the parts of the simulated cluster.
func worldRows() []row {
	return []row{
		{
			tree: "cluster/clustertest/oracle", may: []string{"cluster/ident"},
			why: "what judges the cluster shares no arithmetic with it: neither the timeouts nor the lease, nor what imports them",
		},
		{
			tree: "cluster/clustertest/luns", may: []string{"cluster", "cluster/ident"},
			why: "a simulated LUN is its keys; it knows neither time nor faults",
		},
		{
			tree: "cluster/clustertest/controller", may: []string{"cluster", "cluster/ident"},
			why: "a simulated management controller switches one machine for whoever asks; it knows no cluster",
		},
		{
			tree: "cluster/clustertest/dogs", may: []string{"cluster/timing"},
			why: "a simulated watchdog is its latest feed and what it takes; which there are is said in the words of the timing",
		},
		{
			tree: "cluster/clustertest/mind", may: []string{"cluster", "cluster/ident"},
			why: "what decides in a simulated daemon is anything that takes steps; it need not be the core",
		},
		{
			tree: "cluster/clustertest/faults", may: []string{"cluster/clustertest/controller", "cluster/clustertest/luns", "cluster/clustertest/members"},
			why: "what a test does to a node is values; what becomes of them is the world's",
		},
		{
			tree: "cluster/clustertest/story", may: []string{"cluster", "cluster/ident"},
			why: "what was told is kept, and changes nothing",
		},
		{
			tree: "cluster/clustertest/wire", may: []string{"cluster", "cluster/ident"},
			why: "a simulated network knows who sends to whom, and looks at nothing",
		},
		{
			tree: "cluster/clustertest/tally", may: []string{"cluster", "cluster/ident", "cluster/clustertest/oracle"},
			why: "what is counted of a world is what was told, and changes nothing in it",
		},
		{
			tree: "cluster/clustertest/drive", may: []string{"cluster/clustertest/media", "cluster/ident"},
			why: "what is wrong with a simulated disk is said beside its content",
		},
		{
			tree: "cluster/clustertest/media",
			may:  []string{"cluster", "cluster/clustertest/oracle", "cluster/ident", "cluster/register", "quorumdisk", "quorumdisk/statecodec", "storage"},
			why:  "a simulated disk is bytes under the real codecs; it knows neither time nor faults",
		},
	}
}
