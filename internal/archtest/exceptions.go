package archtest

// An exception allows one violation of one rule.
type exception struct {
	rule string // Rule.Name
	key  string // Violation.Key
	why  string // the reason, for the reader of this table
}

// exceptions is the whole list of what is allowed to break a rule, each with its reason.
func exceptions() []exception {
	return []exception{
		{"state", "internal/build.version", "the linker's -X flag can set nothing but a package-level string variable"},
		{"state", "internal/build.commit", "the linker's -X flag can set nothing but a package-level string variable"},
	}
}
