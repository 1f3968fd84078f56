package sim

import "slices"

// The rules of a configuration and the hardware that only some plans have, as the
// report names them beside the kinds of fault.
const (
	keeps   = "on_disk_loss: keep"
	graced  = "on_disk_loss: stop after a while"
	evicts  = "partition: evict"
	sealed  = "network beats are sealed packets"
	guarded = "guard: reservation"
	powered = "management controllers"
	paused  = "a hypervisor that stops its guests"
	parted  = "services that must be apart"
	joined  = "services that must be together"
)

// What becomes of the writes of an owner that was cut off from its storage.
const (
	refused = "a write without a key is refused"
	aborted = "a write on its way is aborted with its key"
	late    = "a write on its way lands, for nobody aborted it"
)

// kinds is everything that has to be in a tenth of the seeds: what strikes unasked,
// and the rules.
func kinds() []string {
	list := []string{keeps, graced, evicts, sealed, guarded, powered, paused, parted, joined}
	for _, f := range all() {
		if !f.apart {
			list = append(list, f.name)
		}
	}
	return list
}

// biting are those of the kinds that tell when they had an effect.
func biting() []string {
	list := []string{keeps, graced, evicts, sealed, guarded, refused, aborted, late}
	for _, f := range all() {
		if f.tells && !f.apart {
			list = append(list, f.name)
		}
	}
	return list
}

// has are the kinds that a plan has.
func (p Plan) has() []string {
	var list []string
	for _, s := range p.Strikes {
		if !slices.Contains(list, s.Kind) {
			list = append(list, s.Kind)
		}
	}
	var apart, with bool
	for i := range p.Services {
		apart, with = apart || len(p.Services[i].ApartFrom) > 0, with || len(p.Services[i].With) > 0
	}
	for kind, on := range map[string]bool{parted: apart, joined: with, keeps: p.Keeps, graced: p.Grace > 0 && !p.Keeps, evicts: p.Evicts, sealed: p.Sealed, guarded: p.Guarded, powered: p.BMC, paused: p.Pause > 0} {
		if on {
			list = append(list, kind)
		}
	}
	return list
}
