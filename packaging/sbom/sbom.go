// Package sbom writes what programs are made of as SPDX 2.3 in JSON (ISO/IEC
// 5962), from the module list that the go command leaves in each of them. The
// same programs give the same bytes.
package sbom

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type document struct {
	Version       string         `json:"spdxVersion"`
	License       string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Packages      []component    `json:"packages"`
	Relationships []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type component struct {
	ID            string      `json:"SPDXID"`
	Name          string      `json:"name"`
	Version       string      `json:"versionInfo,omitempty"`
	Download      string      `json:"downloadLocation"`
	FilesAnalyzed bool        `json:"filesAnalyzed"`
	Checksums     []checksum  `json:"checksums,omitempty"`
	References    []reference `json:"externalRefs,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Kind string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

// Write gives the bill of materials of the programs, which have the version
// given, as of date.
func Write(version string, date time.Time, programs ...string) ([]byte, error) {
	d := document{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "holdfast-" + version,
		Namespace: "https://github.com/holdfast-ha/holdfast/sbom/" + version,
		Creation:  creation{Created: date.UTC().Format(time.RFC3339), Creators: []string{"Organization: Holdfast"}},
	}
	modules := map[string]component{}
	for _, path := range programs {
		if err := d.program(path, version, modules); err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		d.Packages = append(d.Packages, modules[id])
	}
	text, err := json.MarshalIndent(&d, "", "  ")
	return append(text, '\n'), err
}

// program adds one program, and its modules to the map.
func (d *document) program(path, version string, modules map[string]component) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("bill of materials: %s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	sum := sha256.Sum256(content)
	self := component{
		ID: "SPDXRef-" + filepath.Base(path), Name: filepath.Base(path), Version: version, Download: "NOASSERTION",
		Checksums: []checksum{{"SHA256", hex.EncodeToString(sum[:])}},
	}
	d.Packages = append(d.Packages, self)
	d.Relationships = append(d.Relationships, relationship{d.ID, "DESCRIBES", self.ID})
	add := func(name, version, locator string) {
		c := component{ID: "SPDXRef-" + plain(name), Name: name, Version: version, Download: "NOASSERTION", References: []reference{{"PACKAGE-MANAGER", "purl", locator}}}
		modules[c.ID] = c
		d.Relationships = append(d.Relationships, relationship{self.ID, "DEPENDS_ON", c.ID})
	}
	add("stdlib", info.GoVersion, "pkg:golang/stdlib@"+strings.TrimPrefix(info.GoVersion, "go"))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		add(m.Path, m.Version, "pkg:golang/"+m.Path+"@"+m.Version)
	}
	return nil
}

// plain turns a module's path into an identifier of SPDX: letters, digits, "." and "-".
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, name)
}
