package incidents

import (
	"slices"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// takenOut is what the "admin" event of a service says that is configured no more.
const takenOut = "taken out of the configuration"

// admin is what somebody has asked for. A service that is configured no more is not
// waited for any longer.
func (f *finder) admin(t *Told) {
	if t.Service == "" {
		return
	}
	if t.Text != takenOut {
		if i := f.services[t.Service]; i != nil {
			i.step(t)
		}
		return
	}
	for _, i := range f.found {
		k := slices.IndexFunc(i.Services, func(h Hit) bool { return h.Service == t.Service && h.Started == nil })
		if k < 0 || i.Kind == "" || !i.Open() {
			continue
		}
		i.Services[k].Removed = &t.On
		i.step(t)
		i.close()
	}
	delete(f.services, t.Service)
	delete(f.owners, t.Service)
}

// close ends an incident when all that it has hit runs again, and for a lost node
// its end is proven.
func (i *Incident) close() {
	if i.Ended != nil || i.Kind == NodeLost && i.Proven == nil || i.Kind == DisksLost && len(i.Services) == 0 {
		return
	}
	end := i.Began
	if i.Proven != nil {
		end = i.Proven.On
	}
	for k := range i.Services {
		h := &i.Services[k]
		last := h.Started
		switch {
		case last == nil && h.Removed == nil:
			return
		case last == nil:
			last = h.Removed
		default:
			down := api.Of(h.Started.Sub(i.Began))
			h.Down = &down
		}
		if last.After(end) {
			end = *last
		}
	}
	i.Ended = &end
}

// checked notes the first good check of a service that an incident had hit, which comes
// when that is over.
func (f *finder) checked(t *Told) {
	for _, i := range slices.Backward(f.found) {
		k := slices.IndexFunc(i.Services, func(h Hit) bool { return h.Service == t.Service })
		if k < 0 || i.Kind == "" {
			continue
		}
		if h := &i.Services[k]; h.Started != nil && h.Checked == nil && (h.Term == t.Term || h.Term == 0) && h.To == t.By {
			h.Checked = &t.On
			i.step(t)
		}
		return
	}
}
