package guard

import (
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/sbd"
)

// "Off" outlives the reset that it causes: at the boot after, the node must stay
// out of the cluster until somebody takes the message back.
func TestOffIsHonouredAtTheNextBoot(t *testing.T) {
	r := newRig(t)
	r.mail(1, sbd.Off)
	r.start().turn()
	for range 5 {
		r.p.step(10e9)
		r.turn()
	}
	if r.mailNow(1) != sbd.Off {
		t.Fatalf("mail %v: the message was cleared, so nobody sees why the node stays out", r.mailNow(1))
	}
	err := r.g.obey(1, r.claimOrder())
	if err == nil || !strings.Contains(err.Error(), "holdfast sbd -d memory message beta clear") {
		t.Fatalf("claim: %v, want it refused with the way back", err)
	}
	if len(r.p.reset())+len(r.p.offs) > 0 {
		t.Errorf("resets %v, power off %v: a node that holds nothing was told to", r.p.reset(), r.p.offs)
	}
	r.mail(1, sbd.Clear)
	r.turn()
	r.claim()
}

func TestOffPowersOffWhereTheAdminSaidSo(t *testing.T) {
	r := newRig(t)
	r.deps.Mail.PowerOff = true
	r.mail(0, sbd.Off)
	r.start().turn()
	r.turn()
	if len(r.p.offs) != 1 {
		t.Errorf("powered off %d times, want once: %v", len(r.p.offs), r.p.offs)
	}
}

// The message may come at the very moment of a claim: read while nothing was
// bound, and bound a moment later.
func TestOffThatMeetsAClaim(t *testing.T) {
	r := newRig(t)
	r.deps.Mail.PowerOff = true
	r.start().turn()
	r.mail(0, sbd.Off)
	r.turn()
	r.p.offs = nil
	for _, w := range r.g.workers {
		w.off.Store(false) // the claim looked before
	}
	r.claim()
	r.g.workers[0].off.Store(true)
	r.turn()
	if len(r.p.reset()) != 1 {
		t.Error("a bound node goes on although its mailbox says off")
	}
	if len(r.p.offs) != 0 {
		t.Errorf("a bound node was powered off, which writes back what it has cached: %v", r.p.offs)
	}
}

// An area that SBD used before has its slots in the order in which the nodes came.
func TestSlotIsFoundByName(t *testing.T) {
	r := newRig(t)
	for i, name := range []string{"gamma", "alpha", "other", "BETA"} {
		r.slot(0, i, name)
	}
	r.start().turn()
	r.claim()
	r.mail(0, sbd.Reset) // in the slot with this node's number, which is alpha's
	r.turn()
	if len(r.p.reset()) > 0 {
		t.Fatal("the mail of another node was obeyed")
	}
	sector := make([]byte, layout.SectorSize)
	must(t, sbd.EncodeMail(sector, sbd.Mail{Command: sbd.Reset, From: "admin"}))
	r.disks[0].Poke(int64(2+2*3)*int64(layout.SectorSize), sector)
	r.turn()
	if len(r.p.reset()) != 1 {
		t.Error("mail in the slot that carries this node's name was not obeyed")
	}
}
