package drivers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/holdfast-ha/holdfast/bmc"
	inbandipmi "github.com/u-root/u-root/pkg/ipmi"
)

// The places where a machine tells who it is.
const (
	productUUID = "/sys/class/dmi/id/product_uuid"
	ipmiDevice  = "/dev/ipmi0"
)

// InBand reads, on the machine itself, the GUIDs that a controller of this
// machine may name from outside: the firmware's, and what the machine's own
// controller tells over the bus in the chassis, which is its GUID and the addresses
// of its network cards. A controller whose network address shows one of them is
// this machine's. It needs root, and returns what it found; the error says what is
// missing and is nil only if firmware and controller have told something.
// A machine without IPMI has the first one only, which is enough for Redfish.
func InBand(ctx context.Context) ([]bmc.GUID, error) {
	var found []bmc.GUID
	var missing []error
	add := func(place string, err error, told ...bmc.GUID) {
		if err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", place, err))
		}
		found = append(found, told...)
	}
	g, err := firmwareGUID(productUUID)
	if err != nil {
		add(productUUID, err)
	} else {
		add(productUUID, nil, g)
	}
	told, err := controllerGUIDs(ctx, ipmiDevice)
	add(ipmiDevice, err, told...)
	return found, errors.Join(missing...)
}

func firmwareGUID(path string) (bmc.GUID, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return bmc.GUID{}, plainly(err)
	}
	return bmc.ParseGUID(strings.TrimSpace(string(text)))
}

// controllerGUIDs asks the controller in the chassis. The driver waits for up to
// 10 s for each answer and knows no context.
func controllerGUIDs(ctx context.Context, path string) ([]bmc.GUID, error) {
	type answer struct {
		told []bmc.GUID
		err  error
	}
	result := make(chan answer, 1)
	go func() {
		told, err := askDevice(path)
		result <- answer{told, err}
	}()
	select {
	case a := <-result:
		return a.told, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// channels is how many a controller may have that are no bus (IPMI 2.0, 6.3).
const channels = 11

// askDevice asks for the GUID (Get System GUID), and each channel for the address
// of its network card.
func askDevice(path string) ([]bmc.GUID, error) {
	dev, err := inbandipmi.OpenPath(path)
	if err != nil {
		return nil, plainly(err)
	}
	defer dev.Close()
	return tellAll(func(netFn, command byte, data []byte) ([]byte, error) {
		return dev.SendRecv(inbandipmi.NetFn(netFn), inbandipmi.Command(command), data)
	})
}

// tellAll asks with send, whose answers begin with the completion code.
func tellAll(send func(netFn, command byte, data []byte) ([]byte, error)) ([]bmc.GUID, error) {
	var told []bmc.GUID
	const application, getSystemGUID = 0x06, 0x37
	raw, err := send(application, getSystemGUID, nil)
	switch {
	case err != nil:
		return nil, err
	case len(raw) != 17 || raw[0] != 0:
		err = fmt.Errorf("the controller's answer of %d bytes is no GUID", len(raw))
	default:
		var g bmc.GUID
		if g, err = guidOf(raw[1:]); err == nil {
			told = append(told, g)
		}
	}
	const transport, getLANConfiguration = 0x0c, 0x02
	for channel := byte(1); channel <= channels; channel++ {
		raw, bad := send(transport, getLANConfiguration, cardOf(channel))
		if bad != nil {
			return told, bad
		}
		var card lanCard
		if len(raw) > 0 && raw[0] == 0 {
			_ = card.Unpack(raw[1:])
		}
		if !card.address.IsZero() {
			told = append(told, card.address)
		}
	}
	if len(told) > 0 {
		err = nil
	}
	return told, err
}

// plainly takes the path out of an error that is going to be prefixed with it.
func plainly(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
