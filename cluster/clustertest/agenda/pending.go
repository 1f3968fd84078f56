package agenda

import "slices"

// Pending is what a process has begun and what ends by itself, later, unless
// somebody settles it before. The zero value is empty.
type Pending struct{ list []*func() }

// Add returns what is to be called when it ends: it calls end, unless it was
// settled.
func (p *Pending) Add(end func()) func() {
	one := &end
	p.list = append(p.list, one)
	return func() {
		if i := slices.Index(p.list, one); i >= 0 {
			p.list = slices.Delete(p.list, i, i+1)
			end()
		}
	}
}

// Settle ends everything now, or forgets it, as ends says of each.
func (p *Pending) Settle(ends func() bool) {
	list := p.list
	p.list = nil
	for _, end := range list {
		if ends() {
			(*end)()
		}
	}
}
