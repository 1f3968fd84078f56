package filesystem

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/mount"
)

// network says that the file system is a server's, as server:/path. Nobody can claim
// such a device: it is released when no mount namespace of this host has it, and
// what keeps two nodes apart is that only the owner mounts it at all.
func (s Spec) network() bool {
	return !strings.HasPrefix(s.Device, "/") && strings.Contains(s.Device, ":/")
}

// startNetwork mounts it through mount(8), which knows the protocol's helper.
func (s Spec) startNetwork(ctx context.Context, req resources.Request) resources.Report {
	dev, mounted, err := s.locateNetwork()
	if err != nil {
		return resources.Failure("%v", err)
	}
	if !mounted {
		own, err := mount.Own()
		if err != nil {
			return resources.Failure("mount table: %v", err)
		}
		if top, taken := mount.At(own, s.At); taken {
			return resources.Failure("%s is taken by %s (%s); unmount that first", s.At, top.Source, top.Type)
		}
		if err := s.mountNetwork(ctx, req); err != nil {
			return resources.Failure("%v", err)
		}
		if dev, mounted, err = s.locateNetwork(); err != nil || !mounted {
			return resources.Failure("mount says that %s is mounted, but the kernel does not (%v)", s.Device, err)
		}
	}
	if err := s.inspect(dev); err != nil {
		return resources.Failure("%v", err)
	}
	return resources.Done("mounted at %s", s.At)
}

func (s Spec) mountNetwork(ctx context.Context, req resources.Request) error {
	if s.CreateMountpoint == nil || *s.CreateMountpoint {
		if err := os.MkdirAll(s.At, 0o755); err != nil {
			return fmt.Errorf("mount point: %w", err)
		}
	}
	options := strings.TrimPrefix(s.Options, ",")
	if strings.HasPrefix(s.Type, "nfs") {
		// Else it would share its superblock, and with that its end, with whatever
		// else this host has mounted from the same server.
		options = strings.TrimPrefix(options+",nosharecache", ",")
	}
	argv := []string{"-t", s.Type}
	if options != "" {
		argv = append(argv, "-o", options)
	}
	cmd := exec.CommandContext(ctx, "mount", append(argv, s.Device, s.At)...)
	cmd.Stderr = req.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mount -t %s %s %s: %w", s.Type, s.Device, s.At, err)
	}
	return nil
}

// locateNetwork finds it at its place, in this namespace or in any other.
func (s Spec) locateNetwork() (mount.Device, bool, error) {
	all, err := mount.Namespaces()
	if err != nil {
		return mount.Device{}, false, err
	}
	for _, ns := range all {
		for _, m := range ns.Mounts {
			if m.Point == s.At && m.Source == s.Device {
				return mount.Device{Path: s.Device, Major: m.Major, Minor: m.Minor}, true, nil
			}
		}
	}
	return mount.Device{}, false, nil
}

// fitNetwork asks for the helper that mount(8) calls.
func (s Spec) fitNetwork() resources.Report {
	if strings.HasPrefix(s.Type, "nfs") {
		if _, err := exec.LookPath("mount." + s.Type); err != nil {
			return resources.Missing("mount.%s is not installed on this node; apt-get install nfs-common", s.Type)
		}
	}
	if err := s.tools(); err != nil {
		return resources.Missing("%v", err)
	}
	return resources.Done("%s can be mounted here, as far as can be seen", s.Device)
}
