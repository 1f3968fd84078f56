// Package scripts makes the packages' scripts. What they do stands once, in the
// .sh files; the two families of packages differ in what they call it with.
package scripts

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdfast-ha/holdfast/quorumdisk"
)

//go:embed *.sh
var parts embed.FS

// script is one script of a package: its name, and its parts, each under the
// condition of the family that says when it is wanted.
type script struct {
	name  string
	parts []part
}

type part struct{ when, file string }

// purge removes what init, join and the daemons have made on this machine. The
// quorum disks carry the cluster and stay as they are.
const purge = "rm -rf /etc/holdfast /var/lib/holdfast /run/holdfast"

func all() []script {
	return []script{
		{"preinst.deb", []part{{`[ "$1" = upgrade ]`, "refuse-downgrade.sh"}}},
		{"preinst.rpm", []part{{`[ "$1" -gt 1 ]`, "refuse-downgrade.sh"}}},
		{"postinst.deb", []part{{`[ "$1" = configure ]`, "settle.sh"}}},
		{"postinst.rpm", []part{{"true", "settle.sh"}}},
		{"prerm.deb", []part{{`[ "$1" = remove ]`, "refuse-while-member.sh"}, {`[ "$1" = remove ]`, "stop.sh"}}},
		{"prerm.rpm", []part{{`[ "$1" -eq 0 ]`, "refuse-while-member.sh"}, {`[ "$1" -eq 0 ]`, "stop.sh"}}},
		{"postrm.deb", []part{{`[ "$1" = purge ]`, ""}, {"true", "forget.sh"}}},
		{"postrm.rpm", []part{{"true", "forget.sh"}}},
	}
}

// Write writes the scripts into dir, which is made.
func Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range all() {
		text := "#!/bin/sh\nset -e\n"
		for _, p := range s.parts {
			body := purge + "\n"
			if p.file != "" {
				b, err := parts.ReadFile(p.file)
				if err != nil {
					return err
				}
				body = strings.ReplaceAll(string(b), "@DISK_FORMAT@", strconv.Itoa(int(quorumdisk.Newest)))
			}
			text += fmt.Sprintf("if %s; then\n%sfi\n", p.when, body)
		}
		if err := os.WriteFile(filepath.Join(dir, s.name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}
