// Package explain asks the command line about what happened: each story in
// testdata is told to a simulated cluster that keeps its decision logs, and what
// holdfast explain and holdfast simulate say about those is compared with the text
// beside the story. The texts are what an administrator reads at three in the
// morning; go test ./test/explain -update writes them anew.
package explain
