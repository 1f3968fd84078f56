package archtest

import "fmt"

// Rule is one rule of the repository.
type Rule struct {
	// Name is one word, used in exceptions and as the name of the subtest.
	Name string
	// Why is the reason, in one sentence; it is printed with every violation.
	Why string

	check func(*Tree) []Violation
}

// Violation is one place where a rule does not hold.
type Violation struct {
	// At is the place: path:line, or a folder.
	At string
	// Key names the thing for an exception: folder.Name for a declaration, a path for a file, a folder for a package.
	Key string
	// What says what is wrong there.
	What string
	// Rule and Why repeat the rule's name and reason.
	Rule, Why string
}

// String gives the violation as two lines: where and what, then why.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s\n\t[%s] %s", v.At, v.What, v.Rule, v.Why)
}

// Rules gives all rules, in the order in which they are checked.
func Rules() []Rule {
	return []Rule{
		{"imports", "decisions, disks, network and processes are kept apart by who may import whom; the table is in docs/ARCHITECTURE.md and in internal/archtest/table.go", checkImports},
		{"reach", "the guard must go on when the root file system hangs, and be readable in one sitting: nothing that parses, sends or starts things may come in through another package", checkReach},
		{"fakes", "a fake that production code can reach will one day run in production: only tests and *test packages import *test packages, and only test/... imports test/...", checkFakes},
		{"purity", "cluster/... decides and does nothing else: the same events give the same actions in the daemon, in the simulator and in a replayed log; time comes in as an argument", checkPurity},
		{"state", "package state is shared by everybody and owned by nobody: pass it, or make it a constant; allowed are error sentinels Err... made by errors.New or fmt.Errorf (or another package's under its own name), _ assertions and go:embed texts", checkState},
		{"init", "what runs before main cannot be ordered, tested or refused: construct it where it is used", checkInit},
		{"names", "a package named for nothing in particular collects everything: name it for what it knows", checkNames},
		{"packagedoc", "a newcomer reads the package comment first: say what the package is for and what it is not", checkPackageDoc},
		{"docs", "an exported name is a promise: say units, errors and, for a published format or algorithm, its source", checkDocs},
		{"function", "a function that fits on a screen can be checked by eye: 70 lines, 120 in tests; take out the part that has a name of its own", checkFunctions},
		{"file", "short functions in an endless file are still endless: 500 lines outside tests", checkFiles},
		{"package", "a package is read as a whole: 2000 lines outside tests", checkPackageSize},
		{"main", "main is a paragraph (flags, construct, run), so that everything else can be tested: 60 lines for func main and for a whole package below cmd", checkMain},
		{"struct", "a struct with more than 15 fields has several owners: group fields into named structs", checkStructs},
		{"interface", "an interface belongs to its consumer and asks for little: 4 methods", checkInterfaces},
		{"params", "more than 5 parameters are mixed up at the call: pass a struct", checkParams},
		{"reboot", "reboot(2) runs notifiers that disarm watchdogs while the kernel still writes: a node resets itself by its reset line, or is left to its watchdogs", checkReboot},
		{"sleep", "a test that sleeps is slow on a fast machine and wrong on a slow one: poll with a deadline and a described condition, or use testing/synctest", checkSleep},
	}
}

// Check applies one rule to the tree and leaves out what the table of exceptions allows.
func (r Rule) Check(t *Tree) []Violation {
	allowed := map[string]bool{}
	for _, e := range exceptions() {
		if e.rule == r.Name {
			allowed[e.key] = true
		}
	}
	var left []Violation
	for _, v := range r.check(t) {
		if allowed[v.Key] {
			continue
		}
		v.Rule, v.Why = r.Name, r.Why
		left = append(left, v)
	}
	return left
}

// StaleExceptions gives the exceptions that allow nothing any more, as violations of the rule that they name: an exception
// is kept no longer than its reason.
func StaleExceptions(t *Tree) []Violation {
	found := map[exception]bool{}
	for _, r := range Rules() {
		for _, v := range r.check(t) {
			found[exception{rule: r.Name, key: v.Key}] = true
		}
	}
	var stale []Violation
	for _, e := range exceptions() {
		if !found[exception{rule: e.rule, key: e.key}] {
			stale = append(stale, Violation{
				At: "internal/archtest/exceptions.go", Key: e.key, Rule: e.rule,
				What: fmt.Sprintf("the exception for %s is not needed", e.key),
				Why:  "an exception without a use hides the next violation: take it out",
			})
		}
	}
	return stale
}
