package packaging_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/test/demo/loop"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

// quorumDisk is a file with a superblock where a quorum disk has it.
func quorumDisk(t *testing.T) (path string, s quorumdisk.Superblock) {
	t.Helper()
	s = quorumdisk.Superblock{
		Cluster: quorumdisk.NewUUID(), Disk: quorumdisk.NewUUID(), Index: 2, Size: 67 << 20, Created: time.Unix(1763800000, 0),
		Layout: quorumdisk.Layout{SectorSize: 4096, Nmax: 16},
	}
	c, err := quorumdisk.NewCodec(quorumdisk.Keys{Current: quorumdisk.NewKey()}, s.Cluster, s.Layout)
	if err != nil {
		t.Fatal(err)
	}
	image := make([]byte, quorumdisk.SuperOffset+s.Layout.SectorSize)
	if err := c.SealSuperblock(image[quorumdisk.SuperOffset:], &s, 0); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, s
}

type token struct{ key, op, value string }

// rules reads the file as udev(7) says: one rule a line, tokens with commas
// between, known keys, every GOTO with its LABEL further down.
func rules(t *testing.T) [][]token {
	t.Helper()
	text, err := os.ReadFile("udev/61-holdfast.rules")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{
		"ACTION": "==", "SUBSYSTEM": "!=", "KERNEL": "==", "ENV": "== =", "PROGRAM": "!=", "RESULT": "!=", "SYMLINK": "+=", "GOTO": "=", "LABEL": "=",
	}
	// An assignment or a condition: KEY, operator, "value".
	udevToken := regexp.MustCompile(`^([A-Z]+)(\{[A-Za-z_]+\})?(==|!=|\+=|=)"([^"]*)"$`)
	var list [][]token
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		var rule []token
		for _, part := range strings.Split(line, ", ") {
			m := udevToken.FindStringSubmatch(part)
			if m == nil || !strings.Contains(known[m[1]], m[3]) {
				t.Fatalf("line %d: %q is no token of a rule", n+1, part)
			}
			rule = append(rule, token{m[1] + m[2], m[3], m[4]})
		}
		list = append(list, rule)
	}
	if last := list[len(list)-1]; len(last) != 1 || last[0].key != "LABEL" {
		t.Fatal("the last line is not the label")
	}
	for _, rule := range list {
		if end := rule[len(rule)-1]; end.key == "GOTO" && end.value != list[len(list)-1][0].value {
			t.Errorf("no label %q", end.value)
		}
	}
	return list
}

// The rule, carried out on a quorum disk, names it by its UUID; another disk gets
// no name.
func TestUdevRuleNamesQuorumDisks(t *testing.T) {
	path, s := quorumDisk(t)
	name, env := apply(t, path)
	if name != "disk/by-holdfast/"+s.Disk.String() || env["ID_HOLDFAST_CLUSTER"] != s.Cluster.String() {
		t.Errorf("%q, %v, want disk %v of cluster %v", name, env, s.Disk, s.Cluster)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, _ := apply(t, other); name != "" {
		t.Errorf("an empty disk is named %q", name)
	}
}

// apply carries out PROGRAM, RESULT, ENV and SYMLINK as udev does, for a device
// that passes the conditions before.
func apply(t *testing.T, device string) (symlink string, env map[string]string) {
	t.Helper()
	env = map[string]string{}
	var result string
	field := regexp.MustCompile(`%c\{(\d+)\}`)
	for _, rule := range rules(t) {
		switch one := rule[0]; {
		case one.key == "PROGRAM":
			args := strings.Fields(strings.ReplaceAll(one.value, "$devnode", device))
			out, err := exec.Command(args[0], args[1:]...).Output()
			if err != nil {
				t.Fatalf("%q: %v", args, err)
			}
			result = strings.TrimRight(string(out), "\n")
		case one.key == "RESULT":
			if !slices.ContainsFunc(strings.Split(one.value, "|"), func(p string) bool { return strings.HasPrefix(result, strings.TrimSuffix(p, "*")) }) {
				return "", env
			}
		case strings.HasPrefix(one.key, "ENV") && one.op == "=":
			env[strings.Trim(one.key, "ENV{}")] = field.ReplaceAllStringFunc(one.value, func(f string) string {
				n, err := strconv.Atoi(field.FindStringSubmatch(f)[1])
				words := strings.Fields(result)
				if err != nil || n > len(words) {
					t.Fatalf("%s of %d fields", f, len(words))
				}
				return words[n-1]
			})
		case one.key == "SYMLINK":
			symlink = strings.ReplaceAll(one.value, "$env{ID_HOLDFAST_DISK}", env["ID_HOLDFAST_DISK"])
		}
	}
	return symlink, env
}

// TestUdevNamesQuorumDisks has udev itself try the rule on a loop device, on folders
// of its own in the place of /run and /dev.
func TestUdevNamesQuorumDisks(t *testing.T) {
	if err := stage.Able(); err != nil {
		t.Skipf("udev looks at a block device: %v", err)
	}
	needs(t, "udevadm", "unshare")
	path, s := quorumDisk(t)
	if err := os.Truncate(path, 8<<20); err != nil { // whole sectors of 4096 bytes
		t.Fatal(err)
	}
	device, err := loop.Attach(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-euc", `
		n=${1#/dev/loop}
		mount -t tmpfs none /run && mkdir -p /run/udev/rules.d && cp udev/61-holdfast.rules /run/udev/rules.d/
		mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod "$1" b 7 "$n"
		udevadm test --action=add "/devices/virtual/block/loop$n" 2>&1`, "sh", device).CombinedOutput()
	if want := "ID_HOLDFAST_DISK=" + s.Disk.String(); err != nil || !bytes.Contains(out, []byte(want)) || !bytes.Contains(out, []byte("/dev/disk/by-holdfast/"+s.Disk.String())) {
		t.Errorf("no %q and no link: %v, %s", want, err, out)
	}
}

// file(1) knows a quorum disk with the entry that is packaged.
func TestMagicIsTaughtToFile(t *testing.T) {
	if _, err := exec.LookPath("file"); err != nil {
		t.Skip("file(1) is missing: apt-get install file")
	}
	path, s := quorumDisk(t)
	out, err := exec.Command("file", "-b", "-P", "bytes=8388608", "-m", "magic/holdfast", path).CombinedOutput()
	want := fmt.Sprintf("Holdfast quorum disk, format %d, index %d, sectors of %d bytes, room for %d nodes", quorumdisk.Format1, s.Index, s.Layout.SectorSize, s.Layout.Nmax)
	if err != nil || !bytes.Contains(out, []byte(want)) {
		t.Errorf("%v: %s, want %s", err, out, want)
	}
}
