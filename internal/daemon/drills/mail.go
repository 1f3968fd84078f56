package drills

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/sbd"
	"github.com/holdfast-ha/holdfast/storage"
)

// mailTime bounds one request to a quorum disk.
const mailTime = 5 * time.Second

// sender is who an order's message is from; ordered reads it out of what the guard
// says of mail.
func sender(q *api.DrillStart) string {
	text := fmt.Sprintf("drill %s %s", q.Kind, q.For.Duration().Round(time.Millisecond))
	if q.Service != "" {
		text += " " + q.Service
	}
	return text
}

// ordered reads an order; false: it is none. Mail that was there before the guard is
// told of in other words, and so is never obeyed.
func ordered(notice string) (api.DrillStart, bool) {
	m := regexp.MustCompile(`^mail: test from "drill ([a-z-]+) ([0-9a-z.]+)(?: ([^" ]+))?"$`).FindStringSubmatch(notice)
	if m == nil {
		return api.DrillStart{}, false
	}
	d, err := time.ParseDuration(m[2])
	return api.DrillStart{Kind: m[1], For: api.Of(d), Service: m[3]}, err == nil
}

// send puts a message into a node's mailbox on more than half of the quorum disks.
func (d *Drills) send(to string, m sbd.Mail) error {
	if len(m.From) > sbd.MaxName {
		return fmt.Errorf("the order %q is too long for a mailbox: run the drill on %s itself", m.From, to)
	}
	var errs []error
	paths := d.Disks()
	for _, path := range paths {
		if err := d.deliver(path, to, m); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	if 2*len(errs) >= len(paths) {
		return fmt.Errorf("the order did not reach the mailbox of %s on more than half of the quorum disks: %w", to, errors.Join(errs...))
	}
	return nil
}

func (d *Drills) deliver(path, to string, m sbd.Mail) (err error) {
	disk, err := d.Open(path, 0)
	if err != nil {
		return err
	}
	h, err := sbd.ReadHeader(disk, mailTime)
	if err == nil && h.SectorSize != disk.Info().SectorSize { // laid out by a host that saw other blocks
		var again storage.Disk
		if again, err = d.Open(path, h.SectorSize); err == nil {
			err = disk.Close()
			disk = again
		}
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	if err != nil {
		return err
	}
	area, err := sbd.Open(disk, mailTime)
	if err != nil {
		return err
	}
	slot, has, err := area.Find(to, mailTime)
	switch {
	case err != nil:
		return err
	case !has:
		return fmt.Errorf("%s has no slot there: holdfast sbd -d %s allocate %s", to, path, to)
	}
	return area.Send(slot, m, mailTime)
}
