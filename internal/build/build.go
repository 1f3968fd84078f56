// Package build says which build of Holdfast this is.
//
// A release is built by make, which sets the version and the commit with the linker. A binary that was built by go build or
// go install instead gives what the go command recorded in it. Both parts are for people and for the check that all nodes
// run the same build; nothing else is decided from them.
package build

import "runtime/debug"

// Set by the linker: -X github.com/holdfast-ha/holdfast/internal/build.version=v1.2.3, and the same for commit.
var (
	version string
	commit  string
)

// unknown stands for what neither the linker nor the go command recorded.
const unknown = "unknown"

// Version gives the version as git describe names it ("v1.2.3", "v1.2.3-4-gabcdef0", with "-dirty" for uncommitted changes),
// or the module version of a go install, or "unknown". It is never empty.
func Version() string {
	return choose(version, recordedVersion(read()))
}

// Commit gives the full hash of the commit that was built, or "unknown". It is never empty.
func Commit() string {
	return choose(commit, recordedCommit(read()))
}

// String gives version, commit and the Go release on one line, as the version command prints it.
func String() string {
	s := Version()
	if c := Commit(); c != unknown {
		s += " (commit " + c + ")"
	}
	if info := read(); info.GoVersion != "" {
		s += " " + info.GoVersion
	}
	return s
}

func read() debug.BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return debug.BuildInfo{}
	}
	return *info
}

func recordedVersion(info debug.BuildInfo) string {
	if info.Main.Version == "(devel)" {
		return ""
	}
	return info.Main.Version
}

func recordedCommit(info debug.BuildInfo) string {
	revision, dirty := "", false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if revision != "" && dirty {
		revision += "-dirty"
	}
	return revision
}

func choose(linked, recorded string) string {
	switch {
	case linked != "":
		return linked
	case recorded != "":
		return recorded
	default:
		return unknown
	}
}
