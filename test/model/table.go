package main

// small are the bounds in which the violations of takeover.pml are the shortest. What
// is dropped without harm is searched in them, too: nothing rests on those.
const small = " -DTERMS=2 -DLIVES=1"

// table is every search, in the order of the page.
func table() []run {
	var all []run
	for _, part := range [][]run{ring(), ticket(), slots(), register(), lease(), takeover(), takeoverBroken(), graces(), reservation()} {
		all = append(all, part...)
	}
	return all
}

func ring() []run {
	return []run{
		{Model: "ring", What: "a ring of 4 that wraps, one life", Flags: "-DBLOCKS=6 -DLIVES=1", Want: safe, Short: true},
		{Model: "ring", What: "a ring of 4 that wraps, one restart", Flags: "-DBLOCKS=6", Want: safe},
		{Model: "ring", What: "dropped: a place of unknown outcome is left alone", Flags: "-DBUG_NOQUARANTINE", Want: violated, Short: true},
		{Model: "ring", What: "dropped: ... also when the repeat has succeeded", Flags: "-DBUG_REPEATFREES", Want: violated},
		{Model: "ring", What: "dropped: a new life leaves generations out", Flags: "-DBUG_NOORPHAN", Want: violated},
		{Model: "ring", What: "dropped: it leaves out the write in flight, too", Flags: "-DBUG_ORPHANS_LESS", Want: violated},
		{Model: "ring", What: "dropped: no life uses more than the next one leaves out", Flags: "-DBUG_NOLIMIT", Want: violated, Short: true},
		{Model: "ring", What: "dropped: a block counts only when the disk shows it", Flags: "-DBUG_NOSHOW", Want: violated},
		{Model: "ring", What: "assumption dropped: older writes of a former life have settled", Flags: "-DOLDGHOST", Want: violated},
		{Model: "ring", What: "assumption dropped: ... all of a life that completed none", Flags: "-DSILENTLIFE", Want: violated},
		{Model: "ring", What: "assumption dropped: ... what was written over a wrap in haste", Flags: "-DFASTWRAP", Want: violated},
	}
}

func ticket() []run {
	return []run{
		{Model: "ticket", What: "two machines, each begins twice", Want: safe, Short: true},
		{Model: "ticket", What: "two machines, each begins three times", Flags: "-DTRIES=3", Want: safe},
		{Model: "ticket", What: "dropped: a ticket that was written late does not count", Flags: "-DBUG_LATECOUNTS", Want: violated},
		{Model: "ticket", What: "dropped: ... and its writer waits until everything has settled", Flags: "-DBUG_NOPAUSE -DTRIES=3", Want: violated},
		{Model: "ticket", What: "dropped: it stands for longer than reading and writing take", Flags: "-DSTANDING=1", Want: violated},
		{Model: "ticket", What: "dropped: the ring is read again once it has stood", Flags: "-DBUG_NOREREAD", Want: violated},
		{Model: "ticket", What: "dropped: what an open ticket names is left out", Flags: "-DBUG_OPEN", Want: violated},
		{Model: "ticket", What: "dropped: the next generation is left out", Flags: "-DBUG_LEAVE", Want: violated, Short: true},
		{Model: "ticket", What: "dropped: a life ends when its ticket is exchanged", Flags: "-DBUG_NOTICKET", Want: violated},
		{Model: "ticket", What: "dropped: nobody writes a block who has not just read the headers", Flags: "-DBUG_NOLOOK -DR=4 -DBLOCKS=7", Want: violated},
		{Model: "ticket", What: "dropped: where the newest life writes next is left out behind an older one's block, too", Flags: "-DBUG_LATEST", Want: violated},
	}
}

func slots() []run {
	return []run{
		{Model: "slot", What: "two machines, each boots six times", Flags: "-DLAST=9 -DBOOTS=6", Want: safe, Short: true},
		{Model: "slot", What: "dropped: no claim where another than the joined incarnation beats", Flags: "-DBUG_NORIVAL", Want: violated, Short: true},
		{Model: "slot", What: "dropped: ... nor one of a lower number", Flags: "-DBUG_SAMENUMBER", Want: violated},
		{Model: "slot", What: "dropped: what was never let in stands for as long as a lease and the watchdogs last", Flags: "-DBUG_STRANGER", Want: violated},
		{Model: "slot", What: "dropped: another machine's beat has to be proven dead", Flags: "-DBUG_FOREIGN", Want: violated},
		{Model: "slot", What: "assumption dropped: a claim, and its first beat, take no longer than a boot", Flags: "-DSLOWCLAIM", Want: violated},
	}
}

func register() []run {
	three := " -DND=3 -DVERS=1 -DROUNDS=1"
	return []run{
		{Model: "register", What: "one disk, two versions, one restart", Want: safe, Short: true},
		{Model: "register", What: "one disk, three versions, one restart", Flags: "-DVERS=3", Want: safe},
		{Model: "register", What: "one disk, two versions, both nodes restart", Flags: "-DRESTARTS1=1 -DROUNDS=1", Want: safe},
		{Model: "register", What: "dropped: a late write falls into its own place", Flags: "-DBUG_NORING", Want: violated, Short: true},
		{Model: "register", What: "dropped: a restarted node reads its own ring", Flags: "-DBUG_NORECOVER", Want: violated},
		{Model: "register", What: "dropped: headers are read after the write", Flags: "-DBUG_READEARLY", Want: violated},
		{Model: "register", What: "dropped: phase 1 adopts what it saw", Flags: "-DBUG_NOADOPT", Want: violated},
		{Model: "register", What: "dropped: a block is never cleared", Flags: "-DBUG_CLEAR", Want: violated},
		{Model: "register", What: "three disks, one restart", Flags: three, Big: true, Want: safe},
		{Model: "register", What: "three disks, two versions", Flags: "-DND=3 -DVERS=2 -DROUNDS=1 -DRESTARTS=0", Want: safe},
		{Model: "register", What: "dropped without harm: a ballot carries the life (the ring's order is enough here)", Flags: "-DBALLOT_NOLIFE", Want: safe},
		{Model: "register", What: "dropped: the ring tells lives apart that did not see each other", Flags: "-DBUG_NOORDER", Want: violated},
		{Model: "register", What: "dropped: a majority of three disks", Flags: three + " -DMAJ=1", Want: violated, Deep: true},
	}
}

func lease() []run {
	return []run{
		{Model: "lease", What: "three disks, check and feed in one step", Want: safe, Short: true},
		{Model: "lease", What: "dropped: all disks are judged at one instant", Flags: "-DBUG_INSTANTS", Want: violated},
		{Model: "lease", What: "dropped: the lease needs a majority", Flags: "-DBUG_ANYDISK", Want: violated, Short: true},
		{Model: "lease", What: "dropped: the proof needs a majority", Flags: "-DBUG_ONEDISK", Want: violated},
		{Model: "lease", What: "dropped: a read issued after the instant confirms", Flags: "-DBUG_NOCONFIRM", Want: violated},
		{Model: "lease", What: "dropped: the lease counts from the issue of the beat", Flags: "-DBUG_COMPLETION", Want: violated},
		{Model: "lease", What: "dropped: one tick of W", Flags: "-DW=2", Want: violated},
	}
}

func takeover() []run {
	return []run{
		{Model: "takeover", What: "two watchdogs, m=1", Flags: "-DDUAL", Want: safe, Short: true},
		{Model: "takeover", What: "one watchdog, m=2, T=3", Flags: "-DT=3", Want: safe},
		{Model: "takeover", What: "two watchdogs, nobody else holds them, m=2", Flags: "-DDUAL -DNOSECOND", Want: safe},
		{Model: "takeover", What: "one watchdog, nobody else holds it, m=3, T=3", Flags: "-DT=3 -DNOSECOND", Want: safe},
		{Model: "takeover", What: "two watchdogs, F=2, T=3", Flags: "-DDUAL -DF=2 -DT=3", Big: true, Want: safe},
		{Model: "takeover", What: "clock error on both sides", Flags: "-DDUAL -DE=1", Want: safe},
		{Model: "takeover", What: "frozen kernel", Flags: "-DDUAL -DKFREEZE", Big: true, Want: safe},
		{Model: "takeover", What: "suspend", Flags: "-DDUAL -DSUSPEND", Big: true, Want: safe},
		{Model: "takeover", What: "kill records and E6", Flags: "-DDUAL -DKILL", Want: safe},
		{Model: "takeover", What: "clean leave, E1", Flags: "-DDUAL -DLEAVE", Big: true, Want: safe},
		{Model: "takeover", What: "E6, clean leave and frozen kernel", Flags: "-DDUAL -DKILL -DLEAVE -DKFREEZE", Big: true, Want: safe},
	}
}

func takeoverBroken() []run {
	return []run{
		{Model: "takeover", What: "dropped: one tick of W, two watchdogs", Flags: "-DDUAL -DW=3" + small, Want: violated, Short: true},
		{Model: "takeover", What: "dropped: the second T of one watchdog", Flags: "-DT=3 -DW=6" + small, Want: violated},
		{Model: "takeover", What: "dropped: a third T where nobody else holds it", Flags: "-DT=3 -DNOSECOND -DW=8" + small, Want: violated},
		{Model: "takeover", What: "dropped: a second T where nobody else holds two", Flags: "-DDUAL -DNOSECOND -DW=4" + small, Want: violated},
		{Model: "takeover", What: "dropped: the clock error is charged twice", Flags: "-DDUAL -DE=1 -DW=5" + small, Want: violated},
		{Model: "takeover", What: "dropped: a bound node that runs nothing is not fed", Flags: "-DDUAL -DBUG_IDLE" + small, Want: violated},
		{Model: "takeover", What: "dropped: the successor of a bound guard never feeds", Flags: "-DDUAL -DBUG_SUCCESSOR" + small, Want: violated},
		{Model: "takeover", What: "dropped: a new daemon ends orphaned starts first", Flags: "-DDUAL -DBUG_ORPHAN" + small, Want: violated},
		{Model: "takeover", What: "dropped: retire only when nothing is being started", Flags: "-DDUAL -DBUG_RETIREBUSY" + small, Want: violated},
		{Model: "takeover", What: "dropped: orders of a dead daemon are discarded", Flags: "-DDUAL -DBUG_OLDORDERS" + small, Want: violated},
		{Model: "takeover", What: "dropped: the lease counts from the claim", Flags: "-DDUAL -DBUG_CLAIMLATE" + small, Want: violated},
		{Model: "takeover", What: "dropped: a suspend ends a bound node", Flags: "-DDUAL -DSUSPEND -DBUG_SUSPEND" + small, Want: violated},
		{Model: "takeover", What: "dropped: grants are for an incarnation", Flags: "-DDUAL -DBUG_NOINC", Want: violated},
		{Model: "takeover", What: "dropped: grants are for a node", Flags: "-DDUAL -DBUG_STALEGRANT", Want: violated},
		{Model: "takeover", What: "dropped: the drain time before a claim", Flags: "-DDUAL -DBUG_NODRAIN", Want: violated},
		{Model: "takeover", What: "dropped: E6 only after the incarnation retired", Flags: "-DDUAL -DKILL -DBUG_ACKEARLY" + small, Want: violated},
		{Model: "takeover", What: "dropped without harm: a lease is not revived while stopping", Flags: "-DDUAL -DKILL -DBUG_REVIVE" + small, Want: safe},
		{Model: "takeover", What: "dropped without harm: a grant found not running is released", Flags: "-DDUAL -DBUG_ADOPT" + small, Want: safe},
		{Model: "takeover", What: "dropped without harm: a release is echoed before it is published", Flags: "-DDUAL -DBUG_UNECHOED" + small, Want: safe},
		{Model: "takeover", What: "dropped: both of these", Flags: "-DDUAL -DBUG_ADOPT -DBUG_UNECHOED" + small, Want: violated},
		{Model: "takeover", What: "dropped without harm: nothing is granted to who leaves", Flags: "-DDUAL -DLEAVE -DBUG_GRANTLEAVING" + small, Want: safe},
		{Model: "takeover", What: "dropped: who leaves owns nothing", Flags: "-DDUAL -DLEAVE -DBUG_LEFTOWNS" + small, Want: violated},
	}
}

func graces() []run {
	return []run{
		{Model: "grace", What: "one watchdog, m=2", Want: safe, Short: true},
		{Model: "grace", What: "F=2, T=3, G=5", Flags: "-DF=2 -DT=3 -DG=5", Big: true, Want: safe},
		{Model: "grace", What: "nobody else holds the watchdog, m=3", Flags: "-DNOSECOND", Want: safe},
		{Model: "grace", What: "dropped: a new member waits for every member's word", Flags: "-DBUG_ONESTEPJOIN", Want: violated},
		{Model: "grace", What: "dropped: an outsider waits for W_c", Flags: "-DBUG_OUTSIDERSHORT", Want: violated},
		{Model: "grace", What: "dropped: the prover's own promises", Flags: "-DBUG_NOBOOK", Want: violated, Short: true},
		{Model: "grace", What: "dropped: a new member counts its promises as just made", Flags: "-DBUG_JOINOLD", Want: violated},
		{Model: "grace", What: "dropped without harm: a restarted daemon does so, too (it has to see the silence anew)", Flags: "-DBUG_RESTARTFORGETS", Want: safe},
		{Model: "grace", What: "dropped without harm: no promise once the fencing is known", Flags: "-DBUG_PROMISEFENCED", Want: safe},
		{Model: "grace", What: "dropped: the bound G", Flags: "-DBUG_NOBOUND", Want: violated},
		{Model: "grace", What: "dropped: grace counts from the request", Flags: "-DBUG_REPLYTIME", Want: violated},
		{Model: "grace", What: "dropped: two ticks of W", Flags: "-DW=3", Want: violated},
		{Model: "grace", What: "dropped: two ticks of W_c", Flags: "-DWC=5", Want: violated},
	}
}

func reservation() []run {
	return []run{
		{Model: "reservation", What: "two terms", Flags: "-DTERMS=2", Want: safe, Short: true},
		{Model: "reservation", What: "three terms, the proof by itself", Flags: "-DALONE", Want: safe},
		{Model: "reservation", What: "two terms, a daemon restarts while it registers", Flags: "-DTERMS=2 -DRESTART -DALONE", Want: safe},
		{Model: "reservation", What: "dropped: a new term inherits who is pending", Flags: "-DALONE -DBUG_NOINHERIT", Want: violated},
		{Model: "reservation", What: "dropped: a free service keeps who is pending", Flags: "-DALONE -DBUG_FREECLEARS", Want: violated},
		{Model: "reservation", What: "dropped: a release clears nobody", Flags: "-DALONE -DBUG_RELEASECLEARS", Want: violated},
		{Model: "reservation", What: "dropped: the address waits for those", Flags: "-DTERMS=2 -DALONE -DBUG_NOWAIT", Want: violated, Short: true},
		{Model: "reservation", What: "dropped: E5 makes the former owner pending", Flags: "-DTERMS=2 -DALONE -DBUG_NEVERPENDING", Want: violated},
		{Model: "reservation", What: "dropped: pr_open is read", Flags: "-DTERMS=2 -DALONE -DBUG_NOOPEN", Want: violated},
		{Model: "reservation", What: "dropped: the fencing is read after pr_open was said", Flags: "-DTERMS=2 -DALONE -DBUG_READFIRST", Want: violated},
		{Model: "reservation", What: "dropped: pr_open stays while an old REGISTER may land", Flags: "-DTERMS=2 -DALONE -DRESTART -DBUG_RESTARTCLOSES", Want: violated},
		{Model: "reservation", What: "dropped: the keys are looked at", Flags: "-DTERMS=2 -DALONE -DBUG_NOLOOK", Want: violated},
	}
}
