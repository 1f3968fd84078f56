// Package orders puts what the core orders of the guard into the words of the guard's
// protocol.
package orders

import (
	"fmt"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/quorumdisk"
)

// Wire translates an order. It fails for one that the guard's protocol does not know,
// and for a payload that does not fit a beat.
func Wire(o cluster.Order) (guardwire.Order, error) {
	var payload []byte
	if o.Kind == cluster.OrderPayload || o.Kind == cluster.OrderClaim {
		var err error
		if payload, err = quorumdisk.EncodePayload(nil, &o.Payload); err != nil {
			return nil, err
		}
	}
	switch o.Kind {
	case cluster.OrderPayload:
		return &guardwire.Payload{Bytes: payload}, nil
	case cluster.OrderPermit:
		return &guardwire.Permission{Inc: o.Inc, Until: o.Until}, nil
	case cluster.OrderClaim:
		return &guardwire.Claim{
			Inc: o.Inc, Until: o.Until, Payload: payload,
			Params: guardwire.Params{Lease: o.Lease, H: o.H, PetPeriod: o.Pet, DiskGen: o.DiskGen},
		}, nil
	case cluster.OrderGrace:
		return &guardwire.Grace{Inc: o.Inc, Until: o.Until}, nil
	case cluster.OrderStopping:
		return &guardwire.Stopping{Inc: o.Inc}, nil
	case cluster.OrderRetire:
		return &guardwire.Retire{Inc: o.Inc}, nil
	case cluster.OrderPromise:
		return &guardwire.Promise{Inc: o.Inc, F: o.Lease.F, G: o.Lease.G, H: o.H}, nil
	case cluster.OrderKick:
		return &guardwire.Kick{}, nil
	case cluster.OrderDisks:
		w := &guardwire.Disks{Gen: o.DiskGen}
		for _, u := range o.Disks {
			w.Use = append(w.Use, guardwire.DiskUse{UUID: u.UUID, Path: u.Path, Sets: u.Sets})
		}
		return w, nil
	}
	return nil, fmt.Errorf("order %d is not known to the guard's protocol", o.Kind)
}
