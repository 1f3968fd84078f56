package config_test

import (
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/holdfast-ha/holdfast/internal/config"
)

type schema struct {
	Schema     string `json:"$schema"`
	Type       any    `json:"type"`
	Properties map[string]*schema
	Additional json.RawMessage `json:"additionalProperties"`
	Items      *schema
	AnyOf      []*schema `json:"anyOf"`
	Enum       []string
	Required   []string
}

// TestSchema holds what the reader accepts against the schema: an editor that
// marks a good file as wrong is worse than none.
func TestSchema(t *testing.T) {
	for name, c := range map[string]struct {
		schema []byte
		good   string
	}{
		"cluster": {config.ClusterSchema(), whole},
		"node":    {config.NodeSchema(), least + "watchdogs: [{device: /dev/watchdog0, timeout: 5s}, softdog]\n"},
	} {
		var s schema
		if err := json.Unmarshal(c.schema, &s); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Schema != "https://json-schema.org/draft/2020-12/schema" || len(s.Properties) < 4 {
			t.Fatalf("%s: %s", name, c.schema)
		}
		var v any
		if err := yaml.Unmarshal([]byte(c.good), &v); err != nil {
			t.Fatal(err)
		}
		if wrong := s.reject(v); wrong != "" {
			t.Errorf("%s: the schema rejects a good file: %s", name, wrong)
		}
		v.(map[string]any)["unknown"] = "x"
		if s.reject(v) == "" {
			t.Errorf("%s: the schema accepts an unknown key", name)
		}
	}
}

// reject says why the schema rejects a value, "" if it does not.
func (s *schema) reject(v any) string {
	if len(s.AnyOf) > 0 {
		last := ""
		for _, a := range s.AnyOf {
			if last = a.reject(v); last == "" {
				return ""
			}
		}
		return last
	}
	switch v := v.(type) {
	case map[string]any:
		return s.rejectObject(v)
	case []any:
		if s.Type != "array" {
			return "a list"
		}
		for _, e := range v {
			if wrong := s.Items.reject(e); wrong != "" {
				return "[]: " + wrong
			}
		}
		return ""
	case string:
		if s.Type == "string" && len(s.Enum) == 0 {
			return ""
		}
		for _, e := range s.Enum {
			if e == v {
				return ""
			}
		}
	}
	if _, several := s.Type.([]any); several || s.Type == "integer" || s.Type == "boolean" {
		return ""
	}
	b, _ := json.Marshal(v)
	return string(b) + " against " + func() string { b, _ := json.Marshal(s); return string(b) }()
}

func (s *schema) rejectObject(v map[string]any) string {
	if s.Type != "object" {
		return "a mapping"
	}
	for k, e := range v {
		below := s.Properties[k]
		if below == nil {
			if string(s.Additional) == "false" {
				return "unknown key " + k
			}
			below = &schema{}
			if err := json.Unmarshal(s.Additional, below); err != nil {
				return err.Error()
			}
		}
		if wrong := below.reject(e); wrong != "" {
			return k + ": " + wrong
		}
	}
	for _, k := range s.Required {
		if _, there := v[k]; !there {
			return k + " is missing"
		}
	}
	return ""
}
