package ctl_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/ctl"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/label"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/storage"
)

// formatted is a site with a cluster of one disk.
func formatted(t *testing.T, flags ...string) (s *site, disk string) {
	t.Helper()
	s = newSite(t)
	disk = s.disk("q", 70)
	s.init(append([]string{"--disk", disk}, flags...)...).says(t, 0)
	return s, disk
}

// at runs a command with alpha's node.yaml.
func (s *site) at(stdin string, args ...string) result {
	return holdfast(stdin, append([]string{"--config", s.yaml("alpha")}, args...)...)
}

func TestDiskOffline(t *testing.T) {
	t.Parallel()
	for _, sector := range []string{"512", "4096"} {
		t.Run(sector, func(t *testing.T) {
			t.Parallel()
			s, disk := formatted(t, "--sector-size", sector)
			s.unchanged(disk)
			r := s.at("", "disk", "show", "--for", "1ms", "--json")
			r.says(t, 0)
			var all []struct {
				Path  string `json:"path"`
				Super struct {
					Sector int    `json:"sector_size"`
					Device string `json:"formatted_device"`
				} `json:"superblock"`
				State struct {
					Nodes map[string]string `json:"nodes"`
				} `json:"state"`
				Read float64 `json:"read_seconds"`
			}
			if err := json.Unmarshal([]byte(r.out), &all); err != nil {
				t.Fatal(err)
			}
			if len(all) != 1 || all[0].Path != disk || all[0].State.Nodes["alpha"] != "out" || all[0].Read <= 0 {
				t.Errorf("disk show --json: %+v", all)
			}
			s.at("", "disk", "show", "--for", "1ms", disk).says(t, 0, "sectors of "+sector+" bytes", "no, for")
			s.at("", "disk", "dump", disk).says(t, 0, "superblock B", "failover_within: 20s", "accepted 1.1.0")
			s.at("", "disk", "verify", "--json").says(t, 0, "[]")
		})
	}
}

func TestDiskWithoutNode(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	holdfast("", "--config", "/nonexistent/node.yaml", "disk", "dump", disk).says(t, 1, "sectors of", "without the cluster's key", "belongs to no cluster yet")
	key := filepath.Join(s.etc("alpha"), "cluster.key")
	holdfast("", "--config", "/nonexistent/node.yaml", "disk", "verify", "--key", key, disk).says(t, 0, "everything on it checks")
	holdfast("", "--config", "/nonexistent/node.yaml", "disk", "show", disk).says(t, 1, disk, "--key FILE", "belongs to no cluster yet")
	plain := s.disk("plain", 70)
	s.unchanged(plain)
	for _, verb := range []string{"show", "dump", "verify", "repair"} {
		s.at("", "disk", verb, plain).says(t, 1, plain, "not a Holdfast quorum disk")
	}
	s.at("", "disk", "wipe", plain).says(t, 1, "nothing to wipe")
}

func TestDiskWrongKey(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	s.unchanged(disk)
	other := filepath.Join(s.dir, "other.key")
	if err := (quorumdisk.Keys{Current: quorumdisk.NewKey()}).Save(other); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"show", "dump", "verify", "repair"} {
		s.at("", "disk", verb, "--key", other, disk).says(t, 1, disk, "sealed with another cluster key")
	}
	if err := os.Chmod(other, 0o644); err != nil {
		t.Fatal(err)
	}
	s.at("", "disk", "show", "--key", other, disk).says(t, 1, other, "chmod 600")
}

// TestDiskClone: a copy of a quorum disk is not one until somebody says so.
func TestDiskClone(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	clone := filepath.Join(s.dir, "clone")
	copyFile(t, disk, clone)
	s.at("", "disk", "verify", clone).says(t, 1, clone, "clone or snapshot", "holdfast disk adopt-clone")
	s.at("", "disk", "repair", "--yes", clone).says(t, 1, "clone or snapshot")
	s.at("", "disk", "show", "--for", "0", clone).says(t, 0, "NOT the device that was formatted")
	s.at("no\n", "disk", "adopt-clone", clone).says(t, 1, "nothing was changed")
	s.at("", "disk", "verify", clone).says(t, 1, "clone or snapshot")
	s.at("yes\n", "disk", "adopt-clone", clone).says(t, 0, "must never be seen by the cluster again", "is quorum disk")
	s.at("", "disk", "verify", clone).says(t, 0, "everything on it checks")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDiskVerifyAndRepair(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	writeAt(t, disk, quorumdisk.SuperOffset+100, []byte("scratched"))
	s.at("", "disk", "verify").says(t, 1, "BAD", "superblock", "holdfast disk repair", "serious finding")
	s.at("", "disk", "repair", "--dry-run", disk).says(t, 0, "superblock A", "at 4194304", "none done")
	s.at("no\n", "disk", "repair", disk).says(t, 1, "nothing was changed")
	s.at("", "disk", "verify").says(t, 1, "at 4194304")
	s.at("yes\n", "disk", "repair", disk).says(t, 0, "old ", "new ", "repaired")
	s.at("", "disk", "verify").says(t, 0, "everything on it checks")
	s.at("", "disk", "repair", "--yes", disk).says(t, 0, "nothing was wrong")
	s.at("", "disk", "repair", "--json", disk).says(t, 0, `"writes": []`)
}

func TestDiskWipe(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	id, err := storage.Identify(disk)
	if err != nil {
		t.Fatal(err)
	}
	s.at("", "disk", "wipe", "--force-wipe", id.String(), disk).says(t, 1, "this node's cluster", "remove it from")
	away := []string{"--config", "/nonexistent/node.yaml", "disk", "wipe", "--for", "1ms", disk}
	holdfast("yes\n", away...).says(t, 1, "nothing was changed")
	holdfast("", append(away, "--force-wipe", "naa:5")...).says(t, 1, id.String())
	s.at("", "disk", "verify").says(t, 0)
	holdfast(id.String()+"\n", away...).says(t, 0, "wiped")
	s.at("", "disk", "verify").says(t, 1, "not a Holdfast quorum disk")
	if found, err := storage.Signatures(t.Context(), disk); err != nil || len(found) > 0 {
		t.Errorf("a wiped disk is not empty: %v, %v", found, err)
	}
}

// TestDiskMissing: a disk that is not there is named, and the others are
// shown all the same.
func TestDiskMissing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var flags []string
	for _, name := range []string{"a", "b", "c"} {
		flags = append(flags, "--disk", s.disk(name, 70))
	}
	s.init(flags...).says(t, 0)
	if err := os.Remove(filepath.Join(s.dir, "b")); err != nil {
		t.Fatal(err)
	}
	r := s.at("", "disk", "show", "--for", "0")
	r.says(t, 1, filepath.Join(s.dir, "a")+"\n", filepath.Join(s.dir, "c")+"\n", "open "+filepath.Join(s.dir, "b"))
	if n := strings.Count(r.out, "superblock and beats"); n != 2 {
		t.Errorf("%d disks shown, want 2:\n%s", n, r.out)
	}
}

// TestInitGPT: a labelled disk is opened by everybody, shows its partition to
// others, and loses all of it when it is wiped.
func TestInitGPT(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t, "--gpt")
	p, err := place.Find(disk, time.Minute)
	if err != nil || p.Name != "quorum:holdfast" || p.Offset != label.Start {
		t.Errorf("%+v, %v", p, err)
	}
	s.at("", "disk", "verify").says(t, 0, "everything on it checks")
	s.at("", "disk", "show", "--for", "0").says(t, 0, disk)
	other := newSite(t)
	other.init("--disk", disk).says(t, 1, "carries something", "a partition table (GPT), at offset 512", "quorum disk", "--force-wipe=")
	id, err := storage.Identify(disk)
	if err != nil {
		t.Fatal(err)
	}
	holdfast("", "--config", "/nonexistent/node.yaml", "disk", "wipe", "--for", "1ms", disk, "--force-wipe", id.String()).says(t, 0, "wiped")
	text, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexFunc(text, func(r rune) bool { return r != 0 }); i >= 0 {
		t.Errorf("a wiped disk is not empty at %d", i)
	}
}

// onRead runs something when standard input is read: between question and answer.
type onRead struct {
	do     func()
	answer string
}

func (r *onRead) Read(b []byte) (int, error) {
	if r.do == nil {
		return 0, io.EOF
	}
	r.do()
	r.do = nil
	return copy(b, r.answer), nil
}

// TestDiskRepairOfAnotherDisk: what changed between the plan and the yes is not
// written over.
func TestDiskRepairOfAnotherDisk(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	writeAt(t, disk, quorumdisk.SuperOffset+100, []byte("scratched"))
	in := &onRead{do: func() { writeAt(t, disk, quorumdisk.SuperOffset+200, []byte("by somebody else")) }, answer: "yes\n"}
	var out, errs bytes.Buffer
	code := ctl.Main([]string{"--config", s.yaml("alpha"), "disk", "repair", disk}, in, &out, &errs)
	result{code, out.String(), errs.String()}.says(t, 1, "has changed since the plan", "superblock A")
	s.at("", "disk", "repair", "--yes", disk).says(t, 0, "repaired")
}

// TestDiskRepairGPT: both copies of the partition table, and the superblock, from
// what is left of each.
func TestDiskRepairGPT(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t, "--gpt")
	before := sum(t, disk)
	writeAt(t, disk, 512, make([]byte, 4096))
	writeAt(t, disk, label.Start+quorumdisk.SuperOffset+100, []byte("scratched"))
	s.at("", "disk", "verify").says(t, 1, "partition table at", "superblock at 5242880", "disk repair")
	s.at("", "disk", "repair", "--yes", disk).says(t, 0, "partition table", "superblock A", "at 5242880", "repaired")
	s.at("", "disk", "verify").says(t, 0, "everything on it checks")
	if sum(t, disk) != before {
		t.Error("the repaired disk has other bytes than before")
	}
}

func TestDiskWipeOfABeatingDisk(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	id, err := storage.Identify(disk)
	if err != nil {
		t.Fatal(err)
	}
	beats := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := byte(1); ; n++ {
			select {
			case <-beats:
				return
			case <-time.After(time.Millisecond):
				writeAt(t, disk, quorumdisk.SuperOffset+4096+100, []byte{n})
			}
		}
	}()
	away := []string{"--config", "/nonexistent/node.yaml", "disk", "wipe", "--for", "200ms", "--force-wipe", id.String(), disk}
	holdfast("", away...).says(t, 1, "somebody writes to it", "slot ")
	close(beats)
	<-done
	holdfast("", append(away, "--dry-run")...).says(t, 0, "would be erased")
	s.at("", "disk", "show", "--for", "0").says(t, 0)
	holdfast("", append(away, "--json")...).says(t, 0, `"wiped": true`)
}

func TestDiskCreate(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	fresh := s.disk("fresh", 72)
	s.at("", "disk", "create", "--dry-run", "--gpt", fresh).says(t, 0, "room for 16 nodes", "nothing was written")
	s.at("no\n", "disk", "create", fresh).says(t, 1, "nothing was changed")
	s.at("", "disk", "create", "--yes", disk).says(t, 1, "carries something", "at offset 4194304")
	s.at("", "disk", "create", "--yes", "--gpt", "--index", "1", fresh).says(t, 0, "is quorum disk", "no member of its set")
	s.at("", "disk", "show", "--for", "0", fresh).says(t, 0, "number 1 of the set", "partition  \"quorum:holdfast\"")
	s.at("", "disk", "verify", disk, fresh).says(t, 1, "the cluster's set (generation 1")
	s.at("", "disk", "create", "--yes", s.disk("small", 60)).says(t, 1, "too small")
}

func TestDiskExport(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	file := filepath.Join(s.dir, "for-support.json")
	s.at("", "disk", "export", "--to", file).says(t, 0, "no key and no configuration")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(s.etc("alpha"), "cluster.key"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "failover_within") || strings.Contains(string(text), strings.TrimSpace(string(key))) {
		t.Error("the export has the configuration or the key in it")
	}
	s.at("", "disk", "export", "--to", file).says(t, 1, "exists")
	holdfast("", "--config", "/nonexistent/node.yaml", "disk", "dump", file).says(t, 0, "superblock B", "accepted 1.1.0", "left out", disk)
}

func TestDiskWatch(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	s.at("", "disk", "watch", "--interval", "1ms").says(t, 2, "--interval")
	s.at("", "disk", "watch", "--json").says(t, 2, "--for")
	s.at("", "disk", "watch", "--interval", "50ms", "--for", "300ms").says(t, 0, disk, "reads, last", "<=")
	r := s.at("", "disk", "watch", "--interval", "50ms", "--for", "300ms", "--json")
	r.says(t, 0)
	var all []struct {
		Reads     int   `json:"reads"`
		Histogram []int `json:"histogram"`
	}
	if err := json.Unmarshal([]byte(r.out), &all); err != nil || len(all) != 1 || all[0].Reads == 0 {
		t.Errorf("%v: %s", err, r.out)
	}
	sum := 0
	for _, n := range all[0].Histogram {
		sum += n
	}
	if sum != all[0].Reads {
		t.Errorf("%d reads, %d in the histogram", all[0].Reads, sum)
	}
}

// TestDiskExchanged: two LUNs whose paths were exchanged are told from a foreign
// disk, and a disk of the past from the others.
func TestDiskExchanged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var flags, paths []string
	for _, name := range []string{"a", "b", "c"} {
		paths = append(paths, s.disk(name, 70))
		flags = append(flags, "--disk", paths[len(paths)-1])
	}
	s.init(flags...).says(t, 0)
	for _, move := range [][2]string{{"a", "x"}, {"b", "a"}, {"x", "b"}} {
		if err := os.Rename(filepath.Join(s.dir, move[0]), filepath.Join(s.dir, move[1])); err != nil {
			t.Fatal(err)
		}
	}
	s.at("", "disk", "verify").says(t, 1, paths[0]+": BAD", paths[1]+": BAD", "LUNs", "exchanged", "2 serious findings", paths[2]+": everything")
	clone := filepath.Join(s.dir, "clone")
	copyFile(t, paths[0], clone)
	s.at("", "disk", "verify", paths[0], clone).says(t, 1, "carries the same quorum disk", "take the copy away")
}
