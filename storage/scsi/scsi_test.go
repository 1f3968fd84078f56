package scsi_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/storage/scsi"
	"github.com/holdfast-ha/holdfast/storage/scsi/scsitest"
	"github.com/holdfast-ha/holdfast/storage/storagetest"
)

const (
	alpha = 0x48abcdef01000005
	beta  = 0x48abcdef02000003
	gamma = 0x48abcdef03000001
)

// others lets gamma's key stay, and knows the keys of one cluster.
func others(k uint64) (gone, foreign bool) {
	return k>>32 == 0x48abcdef && k != gamma, k>>32 != 0x48abcdef
}

// TestOutcomes: what each target is worth. The table was written before the code:
// done only where the loser can truly write no more.
func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		fault    scsitest.Fault
		register bool
		take     bool
	}{
		"honest":              {scsitest.Honest, true, true},
		"only type 5":         {scsitest.NoType7, true, true},
		"ignores changes":     {scsitest.IgnoresOut, false, false},
		"abort hangs":         {scsitest.HangsOnAbort, true, true},
		"keeps preempted":     {scsitest.KeepsKeys, true, false},
		"one key per host":    {scsitest.OneKeyPerHost, true, true},
		"has no reservations": {scsitest.NoReservations, false, false},
		"forgets":             {scsitest.Forgets, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			target := scsitest.New(c.fault)
			a, b := target.LUN("alpha", "sda", "sdb"), target.LUN("beta", "sdc", "sdd")
			_, err := a.Register(alpha)
			if (err == nil) != c.register {
				t.Fatalf("register: %v, want it done: %v", err, c.register)
			}
			if err != nil {
				return
			}
			for _, l := range []struct {
				lun scsi.LUN
				key uint64
			}{{b, beta}, {target.LUN("gamma", "sde"), gamma}} {
				if _, err := l.lun.Register(l.key); err != nil {
					t.Fatal(err)
				}
			}
			r, err := b.Take(beta, others)
			if (err == nil) != c.take {
				t.Fatalf("take: %v, want it done: %v", err, c.take)
			}
			if err != nil {
				return
			}
			if hangs := c.fault == scsitest.HangsOnAbort; r.Unsure != hangs || slices.Contains(r.Aborted, uint64(alpha)) == hangs {
				t.Errorf("aborted %x, unsure %v", r.Aborted, r.Unsure)
			}
			if target.Writes("alpha", "sda") || target.Writes("alpha", "sdb") {
				t.Error("a false yes: the loser can write")
			}
			if !target.Writes("beta", "sdc") || !target.Writes("beta", "sdd") || !slices.Contains(r.Keys, uint64(gamma)) {
				t.Errorf("who is welcome lost its key: %+v", r)
			}
			if _, err := b.Take(beta, others); err != nil {
				t.Errorf("a second time: %v", err)
			}
			if _, err := a.Check(alpha); err == nil {
				t.Error("the loser believes that it is registered")
			}
		})
	}
}

// TestPaths: a registration that is missing on one path is noticed, and made.
func TestPaths(t *testing.T) {
	for _, fault := range []scsitest.Fault{scsitest.Honest, scsitest.NoType7} {
		target := scsitest.New(fault)
		l := target.LUN("alpha", "sda", "sdb")
		if _, err := l.Register(alpha); err != nil {
			t.Fatal(err)
		}
		target.Lose("alpha", "sdb")
		if _, err := l.Check(alpha); err == nil {
			t.Errorf("fault %d: a path without a registration is not noticed", fault)
		}
		if _, err := l.Register(alpha); err != nil {
			t.Errorf("fault %d: %v", fault, err)
		}
	}
}

// TestSilentPath: a path that does not answer keeps nobody with another one from
// registering and from taking keys away; it is named, and registered when it answers.
func TestSilentPath(t *testing.T) {
	for _, fault := range []scsitest.Fault{scsitest.Honest, scsitest.NoType7} {
		for _, silent := range []string{"sda", "sdb"} {
			target := scsitest.New(fault)
			loser, l := target.LUN("beta", "sdc", "sdd"), target.LUN("alpha", "sda", "sdb")
			if _, err := loser.Register(beta); err != nil {
				t.Fatal(err)
			}
			target.Down("alpha", silent, true)
			named := []string{"alpha/" + silent}
			if r, err := l.Register(alpha); err != nil || !slices.Equal(r.Silent, named) || !strings.Contains(r.String(), "no answer by alpha/"+silent) {
				t.Fatalf("fault %d, %s: register: %v, %v", fault, silent, r, err)
			}
			if r, err := l.Take(alpha, others); err != nil || !slices.Equal(r.Silent, named) || slices.Contains(r.Keys, uint64(beta)) || !slices.Contains(r.Aborted, uint64(beta)) {
				t.Errorf("fault %d, %s: take: %+v, %v", fault, silent, r, err)
			}
			if target.Writes("beta", "sdc") || target.Writes("beta", "sdd") {
				t.Error("a false yes: the loser can write")
			}
			if target.Writes("alpha", silent) {
				t.Error("a key was sent by a path that does not answer: it could have arrived late")
			}
			target.Down("alpha", silent, false)
			if _, err := l.Check(alpha); err == nil {
				t.Errorf("fault %d, %s: it is back without a registration, and nobody notices", fault, silent)
			}
			if r, err := l.Register(alpha); err != nil || len(r.Silent) != 0 || !target.Writes("alpha", silent) {
				t.Errorf("fault %d, %s: it is back: %+v, %v", fault, silent, r, err)
			}
		}
	}
	target := scsitest.New(scsitest.Honest)
	l := target.LUN("alpha", "sda")
	l.Paths = append(l.Paths, scsi.Unreachable("sdb", errors.New("open sdb: no such device")))
	if r, err := l.Register(alpha); err != nil || !slices.Equal(r.Silent, []string{"sdb"}) {
		t.Errorf("with a path that cannot be opened: %+v, %v", r, err)
	}
	l = target.LUN("alpha", "sda", "sdb")
	target.Down("alpha", "sda", true)
	target.Down("alpha", "sdb", true)
	for name, f := range map[string]func() error{
		"register": func() error { _, err := l.Register(alpha); return err },
		"check":    func() error { _, err := l.Check(alpha); return err },
		"take":     func() error { _, err := l.Take(alpha, others); return err },
	} {
		var refused *scsi.StatusError
		if err := f(); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "alpha/sda") || !strings.Contains(err.Error(), "alpha/sdb") {
			t.Errorf("%s without any path: %v", name, err)
		}
	}
}

// TestPathThatIsHeldBack: what the kernel holds back on one path holds up nothing.
func TestPathThatIsHeldBack(t *testing.T) {
	target := scsitest.New(scsitest.Honest)
	loser, l := target.LUN("beta", "sdc"), target.LUN("alpha", "sda", "sdb")
	for key, lun := range map[uint64]scsi.LUN{alpha: l, beta: loser} {
		if _, err := lun.Register(key); err != nil {
			t.Fatal(err)
		}
	}
	letGo := target.Hold("alpha", "sda")
	defer letGo()
	if r, err := l.Take(alpha, others); err != nil || !slices.Equal(r.Silent, []string{"alpha/sda"}) || target.Writes("beta", "sdc") {
		t.Errorf("take: %+v, %v", r, err)
	}
	if r, err := l.Check(alpha); err != nil || !slices.Equal(r.Silent, []string{"alpha/sda"}) {
		t.Errorf("check: %+v, %v", r, err)
	}
}

// TestReset: a target that keeps registrations has them after a loss of power, and
// what it tells of that first hides nothing.
func TestReset(t *testing.T) {
	target := scsitest.New(scsitest.Honest)
	l := target.LUN("alpha", "sda")
	if r, err := l.Register(alpha); err != nil || !r.Capabilities.Persisting {
		t.Fatalf("%v, %v", r, err)
	}
	target.Reset()
	if r, err := l.Check(alpha); err != nil || !r.Reservation.Held {
		t.Errorf("%v, %v", r, err)
	}
	target = scsitest.New(scsitest.Forgets)
	l = target.LUN("alpha", "sda")
	if r, err := l.Register(alpha); err != nil || r.Capabilities.Persisting || !strings.Contains(r.String(), "lost with the power") {
		t.Fatalf("%v, %v", r, err)
	}
	target.Reset()
	if r, err := l.Check(alpha); err == nil {
		t.Errorf("a target that forgets: %v", r)
	}
}

func TestForeignKey(t *testing.T) {
	target := scsitest.New(scsitest.Honest)
	l := target.LUN("beta", "sdc")
	if _, err := l.Register(beta); err != nil {
		t.Fatal(err)
	}
	target.Foreign(0x123abc)
	if _, err := l.Take(beta, others); !errors.Is(err, scsi.ErrForeign) || !strings.Contains(err.Error(), "0x0000000000123abc") {
		t.Errorf("%v", err)
	}
}

// TestNoSCSIDisk: the kernel is asked, and its refusal told; a path that was given
// back is not asked by the number that it had.
func TestNoSCSIDisk(t *testing.T) {
	p, end, err := scsi.OpenPath(storagetest.Loop(t, storagetest.File(t, 1<<20), 512))
	if err != nil {
		t.Fatal(err)
	}
	l := scsi.LUN{Name: "lun", Paths: []scsi.Path{p}}
	if _, err := l.Look(); !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("a loop device: %v", err)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Look(); !errors.Is(err, unix.EBADF) {
		t.Errorf("a path that was given back: %v", err)
	}
}

// TestRealLUN runs the same against a real device, if there is one.
func TestRealLUN(t *testing.T) {
	name := os.Getenv("HOLDFAST_SCSI_LUN")
	if name == "" {
		t.Skip("no SCSI disk to reserve: set HOLDFAST_SCSI_LUN to one whose content and reservations may be lost, as a LUN of an LIO target (targetcli: /backstores/fileio create, /iscsi create; then iscsiadm --login) with /var/target/pr present; make vm runs this on one")
	}
	paths, err := scsi.PathsOf(name)
	if err != nil {
		t.Fatal(err)
	}
	l := scsi.LUN{Name: name}
	for _, p := range paths {
		path, end, err := scsi.OpenPath(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = end() })
		l.Paths = append(l.Paths, path)
	}
	r, err := l.Register(alpha)
	if err != nil {
		t.Fatalf("%v, %v", r, err)
	}
	if r, err = l.Take(alpha, others); err != nil {
		t.Errorf("%v, %v", r, err)
	}
	t.Log(r)
}
