// Package archtest holds the rules of this repository that a compiler does not know, and checks them in an ordinary test.
//
// A high-availability cluster is wrong in the rare case, and the rare case is found by reading. The rules here keep the
// code readable and the decisions testable: who may import whom, that the decision core (cluster/...) stays free of I/O,
// clocks and goroutines, that no package hides state, that functions and files stay short, and that every exported name
// says what it is. Each rule carries its reason and prints it when it fails.
//
// The source files are walked and parsed in this process. A test that asked another program for the list of packages
// would be cached by the go command and stay green after a change; files that a test opens itself are part of its cache
// key.
//
// Where to change something:
//
//   - a new package: one row in importTable (table.go), and the same row in docs/ARCHITECTURE.md;
//   - a justified exception from a limit: one entry with its reason in exceptions (exceptions.go);
//   - a new rule: one function and one entry in Rules (rules.go), with a source in selftest_test.go that breaks it.
package archtest
