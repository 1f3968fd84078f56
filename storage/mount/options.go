package mount

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Options are mount options in the form that mount(2) takes.
type Options struct {
	Flags uintptr // MS_*
	Data  string  // what only the file system understands, comma-separated
}

// ReadOnly says that "ro" was among them.
func (o Options) ReadOnly() bool { return o.Flags&unix.MS_RDONLY != 0 }

// option is what one generic word does to the flags: it sets set and clears
// clear.
type option struct{ set, clear uintptr }

// generic returns the options of mount(8), section "Filesystem-independent mount
// options", that are flags of mount(2).
func generic(word string) (option, bool) {
	switch word {
	case "defaults":
		return option{clear: unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_SYNCHRONOUS}, true
	case "ro":
		return option{set: unix.MS_RDONLY}, true
	case "rw":
		return option{clear: unix.MS_RDONLY}, true
	case "nosuid":
		return option{set: unix.MS_NOSUID}, true
	case "suid":
		return option{clear: unix.MS_NOSUID}, true
	case "nodev":
		return option{set: unix.MS_NODEV}, true
	case "dev":
		return option{clear: unix.MS_NODEV}, true
	case "noexec":
		return option{set: unix.MS_NOEXEC}, true
	case "exec":
		return option{clear: unix.MS_NOEXEC}, true
	case "sync":
		return option{set: unix.MS_SYNCHRONOUS}, true
	case "async":
		return option{clear: unix.MS_SYNCHRONOUS}, true
	case "dirsync":
		return option{set: unix.MS_DIRSYNC}, true
	case "noatime":
		return option{set: unix.MS_NOATIME, clear: unix.MS_RELATIME | unix.MS_STRICTATIME}, true
	case "atime", "norelatime", "nostrictatime":
		return option{clear: unix.MS_NOATIME | unix.MS_RELATIME | unix.MS_STRICTATIME}, true
	case "relatime":
		return option{set: unix.MS_RELATIME, clear: unix.MS_NOATIME | unix.MS_STRICTATIME}, true
	case "strictatime":
		return option{set: unix.MS_STRICTATIME, clear: unix.MS_NOATIME | unix.MS_RELATIME}, true
	case "nodiratime":
		return option{set: unix.MS_NODIRATIME}, true
	case "diratime":
		return option{clear: unix.MS_NODIRATIME}, true
	case "lazytime":
		return option{set: unix.MS_LAZYTIME}, true
	case "nolazytime":
		return option{clear: unix.MS_LAZYTIME}, true
	case "nosymfollow":
		return option{set: unix.MS_NOSYMFOLLOW}, true
	case "silent":
		return option{set: unix.MS_SILENT}, true
	case "loud":
		return option{clear: unix.MS_SILENT}, true
	}
	return option{}, false
}

// ParseOptions reads a comma-separated list as in fstab(5). Words for the tools
// around mount (noauto, nofail, _netdev, x-...) are dropped; words that would
// make it another operation (bind, remount, loop, ...) are refused; what is not
// known here is for the file system.
func ParseOptions(list string) (Options, error) {
	var o Options
	var data []string
	for _, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		if g, found := generic(word); found {
			o.Flags = o.Flags&^g.clear | g.set
			continue
		}
		name, _, _ := strings.Cut(word, "=")
		switch {
		case word == "" || strings.HasPrefix(word, "x-") || strings.HasPrefix(word, "X-"):
		case name == "noauto" || name == "auto" || name == "nofail" || name == "_netdev" || name == "comment" ||
			name == "user" || name == "nouser" || name == "users" || name == "owner" || name == "group":
		case name == "bind" || name == "rbind" || name == "move" || name == "remount" || name == "loop" || name == "offset" ||
			name == "shared" || name == "private" || name == "slave" || name == "unbindable":
			return Options{}, fmt.Errorf("mount option %q: it makes another operation of the mount and has no place here", word)
		default:
			data = append(data, word)
		}
	}
	o.Data = strings.Join(data, ",")
	return o, nil
}
