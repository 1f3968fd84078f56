package sbdcmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/label"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

// upstream is the sbd(8) of the distribution, to compare with.
func upstream(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"sbd", "/usr/sbin/sbd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("sbd(8) is missing, so nothing was compared with it: apt-get install --no-install-recommends sbd (test/setup.sh does)")
	return ""
}

// start runs a program in an environment without SBD_ variables.
func start(t *testing.T, path string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Args[0] = "sbd" // getopt(3) begins its complaints with it
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SBD_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", path, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// tool runs one of the two programs on devices of its own. ours runs as a
// program too, with its child.
type tool struct {
	t       *testing.T
	program string
	first   []string // before the arguments
	devices []string // what A, B stand for
}

func (tl *tool) run(line string) result {
	tl.t.Helper()
	args := append([]string{}, tl.first...)
	for _, word := range strings.Fields(line) {
		switch word {
		case "A":
			word = tl.devices[0]
		case "B":
			word = tl.devices[1]
		case "EMPTY":
			word = ""
		}
		args = append(args, word)
	}
	r := start(tl.t, tl.program, args...)
	for i, d := range tl.devices {
		r.out = strings.ReplaceAll(r.out, d, "device "+string(rune('A'+i)))
		r.err = strings.ReplaceAll(r.err, d, "device "+string(rune('A'+i)))
	}
	return r
}

// comparable takes out what must differ: identities, and on stderr the reasons,
// which sbd(8) has in its log, and the summary of the options.
func (r result) comparable() result {
	r.out = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(r.out, "UUID")
	var kept []string
	for line := range strings.Lines(r.err) {
		if strings.HasPrefix(line, "Shared storage fencing tool.") {
			kept = append(kept, "the summary\n")
			break
		}
		if !strings.HasPrefix(line, "sbd: ") {
			kept = append(kept, line)
		}
	}
	r.err = strings.Join(kept, "")
	return r
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// pair gives both programs, each with two blank devices.
func pair(t *testing.T, sector int) (theirs, ours *tool) {
	t.Helper()
	device := func() string { return storagetest.Loop(t, storagetest.File(t, 4<<20), sector) }
	theirs = &tool{t: t, program: upstream(t), devices: []string{device(), device()}}
	ours = &tool{t: t, program: self(t), first: []string{"sbd"}, devices: []string{device(), device()}}
	return theirs, ours
}

// script is a life of two devices, without waits. A timeout of -4 0 is not safe,
// which we say on stderr.
const script = `
-d A dump
-d A list
-d A allocate node1
-d A message node1 test
-d A -1 7 -2 0 -3 1 -4 0 create
-d A dump
-d A list
-d A allocate node1
-d A allocate Node1
-d A allocate node2
-d A allocate a.very.long.name.that.just.fits.into.the.sixty.three.bytes.of.s
-d A -n sender message node1 test
-d A -n sender message NODE2 reset
-d A -n sender message node2 off
-d A -n sender message node2 crashdump
-d A list
-d A -n node1 message LOCAL exit
-d A -n a.very.long.sender.name.that.just.fits.into.sixty.three.bytes.o message node2 clear
-d A list
-d A message nobody reset
-d A message node1 poweroff
-d A message node1
-d A message
-d A allocate LOCAL
-d A list
-d A -d B dump
-d A -d B list
-d A -d B -n s message node1 reset
-d A -d B create
-d A -d B dump
-d A -d B -2 0 -4 0 -1 2147483646 create
dump -d A -d B
-d A -d B allocate n
-d A -d B -n s message n exit
-d A -d B list
-d A -d A -d A -d A list
-dAB list
-d /dev/does/not/exist list
-d /dev/does/not/exist dump
-d /dev/does/not/exist create
-d /dev/does/not/exist allocate x
-d /dev/does/not/exist message x reset
-d A -d /dev/does/not/exist dump
-d A -d /dev/does/not/exist list
-d A -d /dev/null -d B list
-d /dev/null dump
-d A -d /a -d /b -d /c list
-d A bogus
-d A -x list
-d A -1 abc create
-d A -1 -5 create
-d A -1
-d A -n EMPTY list
-d A -r flush,crashdump list
-d A -r foo list
-vvv -d A list
-d A -R -W -T -D -P -Z -c -z -S 1 -s 0 -t 5 -F 1 -C 0 -p /run/x -w /dev/null -5 3 list
-d A list more words
-d A -- list
-d A -n a.name.of.more.than.sixty.three.bytes.that.cannot.be.in.a.slot.x list
-d A
EMPTY
-d relative list
-h
query-watchdog
`

// TestSideBySide runs one script with sbd(8) and with ours, each on devices of
// its own, and compares exit code, output and the bytes on the devices.
func TestSideBySide(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			t.Parallel()
			theirs, ours := pair(t, sector)
			for line := range strings.Lines(strings.TrimLeft(script, "\n") + "\n") {
				line = strings.TrimSpace(line)
				want, got := theirs.run(line).comparable(), ours.run(line).comparable()
				if want != got {
					t.Errorf("sbd %s\nsbd(8) %+v\nours   %+v", line, want, got)
				}
				for i := range theirs.devices {
					a, b := area(t, theirs.devices[i], 512*sector), area(t, ours.devices[i], 512*sector)
					clear(a[33:49]) // the UUID
					clear(b[33:49])
					if !bytes.Equal(a, b) {
						t.Fatalf("after sbd %s device %d has other bytes: first at %d", line, i, differ(a, b))
					}
				}
			}
		})
	}
}

// area reads the first bytes of a device: the area, and a sector that must stay
// as it was.
func area(t *testing.T, device string, size int) []byte {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func differ(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// TestEachOthersAreas: what one program made, the other reads and writes.
func TestEachOthersAreas(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			t.Parallel()
			theirs, ours := pair(t, sector)
			for _, way := range []struct {
				name          string
				maker, client *tool
			}{{"ours by sbd(8)", ours, theirs}, {"theirs by us", theirs, ours}} {
				on := *way.client
				on.devices = way.maker.devices
				must := func(tl *tool, line string) result {
					t.Helper()
					r := tl.run(line)
					if r.code != 0 {
						t.Errorf("%s: %s: exit code %d\n%s%s", way.name, line, r.code, r.out, r.err)
					}
					return r
				}
				must(way.maker, "-d A -1 9 -2 0 -4 0 create")
				must(way.maker, "-d A allocate made")
				must(&on, "-d A allocate MADE")
				must(&on, "-d A allocate claimed")
				must(&on, "-d A -n other message made reset")
				must(way.maker, "-d A -n maker message claimed off")
				want, got := must(way.maker, "-d A dump"), must(&on, "-d A dump")
				if want != got || !strings.Contains(got.out, "Timeout (watchdog) : 9") {
					t.Errorf("%s: dump\n%+v\n%+v", way.name, want, got)
				}
				want, got = must(way.maker, "-d A list"), must(&on, "-d A list")
				if want != got || got.out != "0\tmade\treset\tother\n1\tclaimed\toff\tmaker\n" {
					t.Errorf("%s: list\n%+v\n%+v", way.name, want, got)
				}
			}
		})
	}
}

// TestOtherSectorSize: an area whose sectors are not the device's is refused by
// both, wherever it was made.
func TestOtherSectorSize(t *testing.T) {
	program := upstream(t)
	file := storagetest.File(t, 4<<20)
	ours := &tool{t: t, program: self(t), first: []string{"sbd"}, devices: []string{file}}
	ours.run("-d A -4 13 create").says(t, 0)
	ours.run("-d A dump").says(t, 0, "Sector size        : 512")
	device := storagetest.Loop(t, file, 4096)
	ours.devices[0] = device
	theirs := &tool{t: t, program: program, devices: ours.devices}
	for _, line := range []string{"-d A dump", "-d A list", "-d A allocate x", "-d A message x reset"} {
		want, got := theirs.run(line), ours.run(line)
		if want.comparable() != got.comparable() || got.code != 1 {
			t.Errorf("sbd %s\nsbd(8) %+v\nours   %+v", line, want, got)
		}
	}
}

// TestLargerSectors: a quorum disk of physical blocks of 4096 bytes has an area
// that sbd(8) does not read where the logical blocks have 512.
func TestLargerSectors(t *testing.T) {
	file := storagetest.File(t, 4<<20)
	h := sbd.DefaultHeader(4096, quorumdisk.NewUUID())
	image, err := sbd.Image(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(image, make([]byte, 4<<20-len(image))...), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := &tool{t: t, program: self(t), first: []string{"sbd"}, devices: []string{storagetest.Loop(t, file, 512)}}
	ours.run("-d A dump").says(t, 0, "Sector size        : 4096")
	ours.run("-d A allocate node1").says(t, 0)
	ours.run("-d A -n me message node1 exit").says(t, 0)
	if b := area(t, ours.devices[0], 4<<20); string(b[4097:4102]) != "node1" || b[8192] != 4 {
		t.Errorf("slot %q, mailbox %q", b[4096:4104], b[8192:8200])
	}
}

// TestLabelled: for a device with a partition for a quorum disk the area is in
// the partition, and the table stays.
func TestLabelled(t *testing.T) {
	file := storagetest.File(t, 8<<20)
	if _, err := label.Create(file, label.Options{Cluster: "c", Timeout: patience}); err != nil {
		t.Fatal(err)
	}
	ours := &tool{t: t, program: self(t), first: []string{"sbd"}, devices: []string{file}}
	ours.run("-d A create").says(t, 0)
	ours.run("-d A list").says(t, 0)
	if b := area(t, file, 2<<20); string(b[1<<20:1<<20+8]) != "SBD_SBD_" {
		t.Errorf("the partition begins with %q", b[1<<20:1<<20+8])
	}
	if p, err := place.Find(file, patience); err != nil || len(p.Notes) > 0 {
		t.Errorf("the table: %+v, %v", p, err)
	}
}

// TestProgram runs holdfast sbd as a program, with its child, on a file.
func TestProgram(t *testing.T) {
	file := storagetest.File(t, 4<<20)
	ours := &tool{t: t, program: self(t), first: []string{"sbd"}, devices: []string{file}}
	ours.run("-d A -2 0 -4 0 create").says(t, 0, "Device device A is initialized.")
	ours.run("-d A allocate node1").says(t, 0)
	ours.run("-d A -n me message node1 off").says(t, 0)
	if r := ours.run("-d A list"); r.out != "0\tnode1\toff\tme\n" {
		t.Errorf("list says %+v", r)
	}
	ours.run("dump").says(t, 1, "needs a device")
	ours.run("--help").says(t, 0)
}

// TestWithinHoldfast: the command line passes everything on, and adds nothing to
// what is printed and returned.
func TestWithinHoldfast(t *testing.T) {
	file := storagetest.File(t, 4<<20)
	run := func(args ...string) result {
		var out, errOut bytes.Buffer
		code := ctl.Main(append([]string{"sbd"}, args...), strings.NewReader(""), &out, &errOut)
		return result{code, out.String(), errOut.String()}
	}
	run("-d", file, "-2", "0", "-4", "13", "create").says(t, 0, "is initialized.")
	run("list", "-d", file).says(t, 0)
	if r := run("-d", "/nonexistent", "list"); r.code != 1 || strings.Contains(r.err, "holdfast:") || !strings.HasSuffix(r.err, "\nsbd failed; please check the logs.\n") {
		t.Errorf("a failure: %+v", r)
	}
	run("-h").says(t, 0, "Shared storage fencing tool.")
	run("--help").says(t, 0, "DIFFERENCES TO SBD")
}
