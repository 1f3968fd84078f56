// Package keys is Holdfast's own code for persistent reservations as a program inside a machine, for one step at a time.
package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/holdfast-ha/holdfast/storage/scsi"
)

// Run does one step on a disk: "init keys register|check|take DISK KEY [VICTIM...]", keys in hexadecimal. It prints the
// scsi.Report as JSON.
func Run(args []string, out io.Writer) error {
	if len(args) < 3 {
		return errors.New("keys register|check|take DISK KEY [VICTIM...]")
	}
	l, end, err := open(args[1])
	if err != nil {
		return err
	}
	var list []uint64
	for _, a := range args[2:] {
		k, err := strconv.ParseUint(a, 16, 64)
		if err != nil {
			return err
		}
		list = append(list, k)
	}
	var r scsi.Report
	switch args[0] {
	case "register":
		r, err = l.Register(list[0])
	case "check":
		r, err = l.Check(list[0])
	case "take":
		r, err = l.Take(list[0], func(k uint64) (gone, foreign bool) {
			for _, v := range list[1:] {
				gone = gone || k == v
			}
			return gone, false
		})
	default:
		err = fmt.Errorf("no step %q", args[0])
	}
	return errors.Join(err, json.NewEncoder(out).Encode(r), end())
}

// open opens a disk by all its paths.
func open(disk string) (scsi.LUN, func() error, error) {
	names, err := scsi.PathsOf(disk)
	l := scsi.LUN{Name: disk}
	var ends []func() error
	for _, n := range names {
		p, end, fault := scsi.OpenPath(n)
		if fault != nil {
			err = errors.Join(err, fault)
			continue
		}
		l.Paths, ends = append(l.Paths, p), append(ends, end)
	}
	return l, func() (err error) {
		for _, e := range ends {
			err = errors.Join(err, e())
		}
		return err
	}, err
}
