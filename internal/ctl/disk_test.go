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
	s.at("", "disk", "repair", clone).says(t, 1, "clone or snapshot")
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
	s.at("", "disk", "repair", disk).says(t, 0, "repaired")
	s.at("", "disk", "verify").says(t, 0, "everything on it checks")
	s.at("", "disk", "repair", disk).says(t, 0, "nothing was wrong")
}

func TestDiskWipe(t *testing.T) {
	t.Parallel()
	s, disk := formatted(t)
	id, err := storage.Identify(disk)
	if err != nil {
		t.Fatal(err)
	}
	s.at("", "disk", "wipe", "--force-wipe", id.String(), disk).says(t, 1, "this node's cluster", "remove it from")
	away := []string{"--config", "/nonexistent/node.yaml", "disk", "wipe", disk}
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
	holdfast("", "--config", "/nonexistent/node.yaml", "disk", "wipe", disk, "--force-wipe", id.String()).says(t, 0, "wiped")
	text, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexFunc(text, func(r rune) bool { return r != 0 }); i >= 0 {
		t.Errorf("a wiped disk is not empty at %d", i)
	}
}
