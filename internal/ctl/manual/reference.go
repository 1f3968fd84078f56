package manual

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// schema is the part of a JSON Schema that the pages show.
type schema struct {
	Description string             `json:"description"`
	Type        any                `json:"type"`
	Properties  map[string]*schema `json:"properties"`
	Required    []string           `json:"required"`
	Items       *schema            `json:"items"`
	AnyOf       []*schema          `json:"anyOf"`
	Enum        []string           `json:"enum"`
	Examples    []string           `json:"examples"`
	Pattern     string             `json:"pattern"`
	Minimum     *int64             `json:"minimum"`
	Maximum     *int64             `json:"maximum"`
	Additional  json.RawMessage    `json:"additionalProperties"`
}

// reference is the table of a configuration file as a Markdown definition list: each key with its place, what it takes
// and what it means.
func reference(text []byte) (string, error) {
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		return "", err
	}
	var out strings.Builder
	err := s.list(&out, "")
	return out.String(), err
}

// list writes the keys below s, which stands at the path prefix.
func (s *schema) list(out *strings.Builder, prefix string) error {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		key := s.Properties[name]
		if err := key.entry(out, prefix+name, slices.Contains(s.Required, name)); err != nil {
			return err
		}
	}
	if len(s.Additional) > 0 && s.Additional[0] == '{' {
		elem := &schema{}
		if err := json.Unmarshal(s.Additional, elem); err != nil {
			return err
		}
		if err := elem.below(out, prefix+"NAME."); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) entry(out *strings.Builder, path string, must bool) error {
	words := s.takes()
	if must {
		words += ", required"
	}
	fmt.Fprintf(out, "**%s** (%s)\n: %s", path, words, sentence(s.Description))
	for _, e := range s.Examples {
		fmt.Fprintf(out, " Example: `%s`.", e)
	}
	out.WriteString("\n\n")
	return s.below(out, path+".")
}

// below writes what an object, the elements of a list or the alternatives have as keys of their own.
func (s *schema) below(out *strings.Builder, prefix string) error {
	for _, other := range s.AnyOf {
		if err := other.below(out, prefix); err != nil {
			return err
		}
	}
	if s.Items != nil {
		return s.Items.below(out, strings.TrimSuffix(prefix, ".")+"[].")
	}
	return s.list(out, prefix)
}

// takes says in a few words what a value may be.
func (s *schema) takes() string {
	switch {
	case len(s.AnyOf) > 0:
		var words []string
		for _, other := range s.AnyOf {
			words = append(words, other.takes())
		}
		return strings.Join(slices.Compact(words), " or ")
	case len(s.Enum) > 0:
		return strings.Join(s.Enum, " | ")
	case s.Items != nil:
		return "list of " + s.Items.takes()
	case s.Pattern != "":
		return "duration"
	case s.Minimum != nil && s.Maximum != nil:
		return fmt.Sprintf("number, %d to %d", *s.Minimum, *s.Maximum)
	}
	switch s.Type {
	case "object":
		return "keys"
	case "boolean":
		return "true or false"
	case "array":
		return "list"
	}
	return "text"
}

// sentence ends a description with a full stop.
func sentence(text string) string {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\n", " "))
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}
