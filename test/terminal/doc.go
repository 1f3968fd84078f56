// Package terminal looks at holdfast status as a person does: in a real terminal,
// that of tmux, whose screen, colours and bytes it compares with what is promised.
package terminal
