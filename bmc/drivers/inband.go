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
// machine may name from outside: the firmware's, and the one that the machine's
// own controller tells over the bus in the chassis. A controller whose network
// address shows one of them is this machine's. It needs root, and returns what
// it found; the error says what is missing and is nil only if both were read.
// A machine without IPMI has the first one only, which is enough for Redfish.
func InBand(ctx context.Context) ([]bmc.GUID, error) {
	var found []bmc.GUID
	var missing []error
	add := func(place string, g bmc.GUID, err error) {
		if err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", place, err))
			return
		}
		found = append(found, g)
	}
	g, err := firmwareGUID(productUUID)
	add(productUUID, g, err)
	g, err = controllerGUID(ctx, ipmiDevice)
	add(ipmiDevice, g, err)
	return found, errors.Join(missing...)
}

func firmwareGUID(path string) (bmc.GUID, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return bmc.GUID{}, plainly(err)
	}
	return bmc.ParseGUID(strings.TrimSpace(string(text)))
}

// controllerGUID asks the controller in the chassis (Get System GUID). The
// driver waits for up to 10 s and knows no context.
func controllerGUID(ctx context.Context, path string) (bmc.GUID, error) {
	type answer struct {
		guid bmc.GUID
		err  error
	}
	result := make(chan answer, 1)
	go func() {
		g, err := askDevice(path)
		result <- answer{g, err}
	}()
	select {
	case a := <-result:
		return a.guid, a.err
	case <-ctx.Done():
		return bmc.GUID{}, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

func askDevice(path string) (bmc.GUID, error) {
	dev, err := inbandipmi.OpenPath(path)
	if err != nil {
		return bmc.GUID{}, plainly(err)
	}
	defer dev.Close()
	const application, getSystemGUID = 0x06, 0x37
	raw, err := dev.SendRecv(inbandipmi.NetFn(application), inbandipmi.Command(getSystemGUID), nil)
	if err != nil {
		return bmc.GUID{}, err
	}
	// The completion code comes first.
	if len(raw) != 17 || raw[0] != 0 {
		return bmc.GUID{}, fmt.Errorf("the controller's answer of %d bytes is no GUID", len(raw))
	}
	return guidOf(raw[1:])
}

// plainly takes the path out of an error that is going to be prefixed with it.
func plainly(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
