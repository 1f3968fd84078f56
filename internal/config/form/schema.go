package form

import "encoding/json"

// Schema is the JSON Schema (draft 2020-12) of a file of this shape, for editors;
// made of the same tables that the reader uses.
func (s *Shape) Schema(title string) []byte {
	m := s.schema()
	m["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	m["title"] = title
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic("form: a schema of texts and numbers does not encode: " + err.Error())
	}
	return append(b, '\n')
}

func (s Shape) schema() map[string]any {
	m := s.plainSchema()
	if s.doc != "" {
		m["description"] = s.doc
	}
	if s.Or == nil {
		return m
	}
	return map[string]any{"anyOf": []any{m, s.Or.schema()}}
}

func (s Shape) plainSchema() map[string]any {
	m := map[string]any{}
	switch s.form {
	case object:
		s.objectSchema(m)
	case table:
		m["type"] = "object"
		m["additionalProperties"] = s.elem.schema()
	case list:
		m["type"] = "array"
		m["items"] = s.elem.schema()
		if !s.empty {
			m["minItems"] = 1
		}
	case number:
		m["type"], m["minimum"], m["maximum"] = "integer", s.least, s.most
	case truth:
		m["type"] = "boolean"
	case span:
		m["type"] = "string"
		m["pattern"] = `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$|^0$`
	default:
		m["type"] = "string"
		if s.raw {
			m["type"] = []string{"string", "number", "boolean"}
		}
		if len(s.enum) > 0 {
			m["enum"] = s.enum
		}
	}
	if s.example != "" && s.form != object {
		m["examples"] = []string{s.example}
	}
	return m
}

func (s Shape) objectSchema(m map[string]any) {
	props := map[string]any{}
	var must []string
	for _, k := range s.Keys {
		props[k.name] = k.shape.schema()
		if k.must {
			must = append(must, k.name)
		}
	}
	m["type"], m["properties"], m["additionalProperties"] = "object", props, false
	if len(must) > 0 {
		m["required"] = must
	}
}
