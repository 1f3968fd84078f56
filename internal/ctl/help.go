package ctl

import (
	_ "embed"
	"strings"

	"github.com/spf13/cobra"
)

// helpText has one section for each command: a line "== command path", a short
// line, and after a blank line the long text, which may end in a part that
// begins with "Examples:".
//
//go:embed help.txt
var helpText string

// describe gives every command below root the texts of its section.
func describe(root *cobra.Command) {
	sections := helpSections(helpText)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		text := sections[c.CommandPath()]
		c.Short, c.Long, _ = strings.Cut(text, "\n")
		c.Long = strings.TrimSpace(c.Long)
		if long, examples, ok := strings.Cut(c.Long, "Examples:\n"); ok {
			c.Long, c.Example = strings.TrimSpace(long), strings.TrimRight(examples, "\n")
		}
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(root)
}

// helpSections cuts the text at its headings.
func helpSections(text string) map[string]string {
	sections := map[string]string{}
	for _, part := range strings.Split("\n"+text, "\n== ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		sections[strings.TrimSpace(name)] = strings.TrimSpace(body)
	}
	return sections
}
