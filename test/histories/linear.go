package histories

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holdfast-ha/holdfast/cluster/register"
)

// model is a versioned register: a proposal replaces the value that it was built
// on by its own, one version further, or finds it unchanged.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return value{} },
		Step: func(state, input, _ any) (bool, any) {
			at, c := state.(value), input.(*call)
			fits := at.ver+1 == c.put.ver && at.id == c.put.base
			switch {
			case c.kind == register.Committed:
				return fits, c.put
			case c.kind == register.Unchanged:
				return at == c.got, at
			case fits:
				return true, c.put
			}
			// Nobody knows what became of it. It has an infinite time to take
			// effect, and where it does not fit it never did.
			return true, at
		},
		DescribeOperation: func(any, any) string { return "propose" },
	}
}

// linearizable asks porcupine for an order of all proposals that explains what
// the proposers were told. A stable leader's word that nothing has to change
// rests on what it committed last, not on a round, and is no read: those are
// left to the oracle.
func (w *world) linearizable() {
	var ops []porcupine.Operation
	for _, c := range w.oracle.calls {
		end := c.to
		switch {
		case c.to == 0 && c.put.id == 0, c.kind == register.Unchanged && c.to == c.from:
			continue
		case c.to == 0:
			end = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{Input: c, Call: c.from, Return: end})
	}
	switch porcupine.CheckOperationsTimeout(model(), ops, 20*time.Second) {
	case porcupine.Illegal:
		w.violated("%d proposals are not linearizable", len(ops))
	case porcupine.Unknown:
		w.violated("porcupine found no order of %d proposals in 20 s", len(ops))
	}
}
