package gather

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/drivers"
	"github.com/holdfast-ha/holdfast/internal/clock"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/quorumdisk/place"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
	"github.com/holdfast-ha/holdfast/storage"
	"github.com/holdfast-ha/holdfast/storage/program"
	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// Here is this machine.
func Here() *Machine {
	return &Machine{Root: "/", Run: program.Run, Probe: Probes{
		Measured: isMeasured, Read: readTimes, Cards: cards, Synced: synced, Room: room, Reservations: reserved, Controller: controller, Certificate: shown,
	}}
}

// patience is for one request to a disk, within for a management controller.
const (
	patience = 5 * time.Second
	within   = 20 * time.Second
)

func isMeasured(n *config.Node, l watchdog.Listed) error {
	q, err := watchdog.LoadQualification(filepath.Join(n.Dirs.State, "watchdogs", filepath.Base(l.Path)+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no record of a measurement")
	}
	if err != nil {
		return err
	}
	p, err := clock.Open(clock.Config{Node: n.Name})
	if err != nil {
		return err
	}
	now, err := watchdog.SettingOf(n.Name, p.Identity().Host.String(), watchdog.Info{Path: l.Path, Identity: l.Identity, Driver: l.Driver, Timeout: q.Timeout})
	if err != nil {
		return err
	}
	if reasons := q.Matches(now); len(reasons) > 0 {
		return errors.New(reasons[0])
	}
	return nil
}

// readTimes reads the first sector of a quorum disk, directly from the device.
func readTimes(path string, times int) ([]time.Duration, error) {
	d, err := place.Handle(path, storage.Options{ReadOnly: true}, patience)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }() // a read that hangs ends with the process
	buf := make([]byte, d.Info().SectorSize)
	var all []time.Duration
	for range times {
		began := time.Now()
		if err := d.Read(buf, 0, patience); err != nil {
			return all, err
		}
		all = append(all, time.Since(began))
	}
	return all, nil
}

func cards() ([]Card, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []Card
	for _, c := range list {
		addrs, err := c.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				all = append(all, Card{Name: c.Name, Address: p.Addr().String(), Subnet: p.Masked().String()})
			}
		}
	}
	return all, nil
}

// synced asks the kernel, as timedatectl does (adjtimex(2)).
func synced() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, err
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}

func room(path string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// reserved reads keys and reservation, and asks every path; nothing is changed.
func reserved(device string) (scsi.Report, error) {
	l, end, err := scsi.OpenLUN(device)
	if err != nil {
		return scsi.Report{}, err
	}
	defer end()
	return l.Look()
}

// controller reads the power state by the network, and compares who answers with
// what this machine says of itself.
func controller(ctx context.Context, n *config.Node) error {
	ref, err := bmc.Parse(n.BMC.URL)
	if err != nil {
		return err
	}
	var secret bmc.Secret
	if n.BMC.PasswordFile != "" {
		if secret, err = bmc.ReadSecret(n.BMC.PasswordFile); err != nil {
			return err
		}
	}
	s, err := drivers.Open(ref, bmc.Options{Password: secret})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	switch r := s.State(ctx); r.State {
	case bmc.Unknown:
		return errors.New(r.Text)
	case bmc.Off:
		return errors.New("it says that its machine is off, and this one is running: it is another machine's")
	default:
		host, err := drivers.InBand(ctx)
		if len(host) == 0 {
			return fmt.Errorf("this machine does not say who it is (modprobe ipmi_devintf ipmi_si): %w", err)
		}
		return (bmc.Options{Expect: host}).Accept(r.Identity)
	}
}
