package clock

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

const (
	bootIDFile      = "proc/sys/kernel/random/boot_id"
	productUUIDFile = "sys/class/dmi/id/product_uuid"
	machineIDFile   = "etc/machine-id"
)

// hostPurpose separates our hash of the machine id from everybody else's, as
// machine-id(5) asks for: the id itself is confidential.
const hostPurpose = "holdfast host identity, version 1"

// hostIdentity reads the identity below root, which is "/" but in tests.
func hostIdentity(root string) (Identity, error) {
	boot, err := readUUID(filepath.Join(root, bootIDFile))
	if err != nil {
		return Identity{}, fmt.Errorf("read this boot's identity: %w", err)
	}
	id := Identity{Boot: ident.BootID(boot), HostKind: HostDMI}
	var refused error
	if id.Host, refused = productUUID(root); refused == nil {
		return id, nil
	}
	id.HostKind = HostMachineID
	if id.Host, err = hashedMachineID(root); err != nil {
		return Identity{}, fmt.Errorf("read this host's identity: %w; and %w; "+
			"run systemd-machine-id-setup(1) to create a machine id", refused, err)
	}
	return id, nil
}

func readUUID(path string) (ident.UUID, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return ident.UUID{}, err
	}
	u, err := ident.ParseUUID(strings.TrimSpace(string(text)))
	if err != nil {
		return u, fmt.Errorf("%s: %w", path, err)
	}
	return u, nil
}

// productUUID reads the firmware's UUID and refuses one that many hosts share.
func productUUID(root string) (ident.UUID, error) {
	path := filepath.Join(root, productUUIDFile)
	u, err := readUUID(path)
	if err != nil {
		return u, err
	}
	if isVendorConstant(u) {
		return ident.UUID{}, fmt.Errorf("%s: %s is a vendor's placeholder, not an identity", path, u)
	}
	return u, nil
}

// isVendorConstant says that firmware vendors ship this value on many boards. A
// value made of one repeated byte (zero, all ones, AA..) is one of them.
func isVendorConstant(u ident.UUID) bool {
	switch u.String() {
	case "03000200-0400-0500-0006-000700080009", // AMI's default
		"00020003-0004-0005-0006-000700080009", // the same, byte-swapped
		"12345678-1234-5678-90ab-cddeefaabbcc", // sample in board support kits
		"12345678-1234-1234-1234-123456789abc",
		"fefefefe-fefe-fefe-fefe-fefefefefefe",
		"a7a7a7a7-a7a7-a7a7-a7a7-a7a7a7a7a7a7":
		return true
	}
	for _, b := range u {
		if b != u[0] {
			return false
		}
	}
	return true
}

// hashedMachineID derives a UUID from the machine id with HMAC-SHA-256, marked
// as a version 4 UUID (RFC 4122), in the way of sd_id128_get_machine_app_specific(3).
func hashedMachineID(root string) (ident.UUID, error) {
	path := filepath.Join(root, machineIDFile)
	id, err := readUUID(path)
	if err != nil {
		return ident.UUID{}, err
	}
	if id.IsZero() {
		return ident.UUID{}, fmt.Errorf("%s: all zero", path)
	}
	mac := hmac.New(sha256.New, id[:])
	mac.Write([]byte(hostPurpose))
	var u ident.UUID
	copy(u[:], mac.Sum(nil))
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u, nil
}
