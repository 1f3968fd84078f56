// Package cases holds the nasty cases of docs/NASTY-CASES.md together: it checks
// that each one has its test, and has those that belong to no other package.
package cases
