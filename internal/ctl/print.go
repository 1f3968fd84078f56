package ctl

import (
	"encoding/json"
	"fmt"
)

// printJSON writes one indented document.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// say writes one line to stdout.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }
