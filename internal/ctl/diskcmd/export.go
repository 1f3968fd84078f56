package diskcmd

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/ctl/screen"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
)

// exportFormat is what an export begins with, and its version.
const exportFormat = "holdfast disk export 1"

// exported is a file for people who cannot see the disks. It has no key, no
// configuration and no body of the register: what an administrator wrote into
// those may be secret.
type exported struct {
	Format  string         `json:"format"`
	Made    string         `json:"made"`
	Disks   []exportedDisk `json:"disks"`
	LeftOut string         `json:"left_out"`
}

type exportedDisk struct {
	Path     string         `json:"path"`
	Error    string         `json:"error,omitempty"`
	Base     int64          `json:"offset_on_device"`
	Report   *volume.Report `json:"report,omitempty"`
	Findings []finding      `json:"findings,omitempty"`
	Dump     string         `json:"dump,omitempty"` // as disk dump prints it
	Raw      []rawRegion    `json:"raw,omitempty"`
}

// rawRegion is what stands on the disk, for what no decoder understands.
type rawRegion struct {
	Where string `json:"where"`
	Off   int64  `json:"offset"` // bytes from the start of the quorum disk
	Hex   string `json:"hex"`    // zeros at its end are left out
}

func (a *app) export() *cobra.Command {
	var to string
	c := a.looks("export --to FILE [PATH...]", cobra.ArbitraryArgs, func(args []string) error {
		list, err := a.targets(args)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].want.AnyDevice = true
		}
		all := visit(a, list, a.exportDisk)
		e := exported{Format: exportFormat, Made: time.Now().UTC().Format(time.RFC3339), LeftOut: "keys, the configuration, and the bodies of the register that hold it"}
		for _, v := range all {
			if v.value.Path = v.path; v.err != nil {
				v.value.Error = v.err.Error()
			}
			e.Disks = append(e.Disks, v.value)
		}
		if a.JSON || to == "" {
			return errors.Join(a.PrintJSON(e), joined(all))
		}
		if err := writeExport(to, e); err != nil {
			return err
		}
		a.Say("%s: %s; it holds no key and no configuration. Read it with: holdfast disk dump %s", to, screen.Plural(len(e.Disks), "disk"), to)
		return joined(all)
	})
	c.Flags().StringVar(&to, "to", "", "write to this new `file` (default: standard output)")
	return c
}

func (a *app) exportDisk(v *opened) (exportedDisk, error) {
	d := exportedDisk{Base: v.base}
	var err error
	if d.Report, err = v.Report(nil, 0, a.patience); err != nil {
		return d, err
	}
	s, err := a.examine(v)
	if err != nil {
		return d, err
	}
	d.Findings = s.found
	var b strings.Builder
	if err := v.DumpRedacted(&b, a.patience); err != nil {
		return d, err
	}
	d.Dump = b.String()
	l := v.Layout()
	for _, r := range []struct {
		where string
		off   int64
		size  int
	}{
		{"superblock A and beats", quorumdisk.SuperOffset, l.TableSize()},
		{"register headers", quorumdisk.HeadersOffset, l.HeadersSize()},
		{"superblock B", l.BackupOffset(v.Disk().Info().Size), l.SectorSize},
	} {
		raw := make([]byte, r.size)
		if err := v.Disk().Read(raw, r.off, a.patience); err != nil {
			return d, err
		}
		d.Raw = append(d.Raw, rawRegion{r.where, r.off, hex.EncodeToString(bytes.TrimRight(raw, "\x00"))})
	}
	return d, nil
}

// writeExport writes a file that was not there, for its owner alone.
func writeExport(path string, e exported) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	enc.SetIndent("", "  ")
	return errors.Join(enc.Encode(e), f.Close())
}

// readExport reads a file that export made; nil if it is none.
func readExport(path string) (*exported, error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil // a device, or what its opening will say
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head) // a shorter file is none
	if !strings.Contains(string(head[:n]), exportFormat) {
		return nil, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var e exported
	if err := json.NewDecoder(f).Decode(&e); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &e, nil
}

// dumpExport prints an export as dump prints disks.
func (a *app) dumpExport(e *exported) error {
	if a.JSON {
		return a.PrintJSON(e)
	}
	a.Say("%s, made %s, without %s", e.Format, e.Made, e.LeftOut)
	for _, d := range e.Disks {
		a.Say("== %s, at %d of the device", d.Path, d.Base)
		if d.Error != "" {
			a.Say("not read: %s", d.Error)
		}
		fmt.Fprint(a.Out, d.Dump)
		for _, f := range d.Findings {
			a.Say("finding: %s at %d: %s; %s", f.Where, f.Off, f.Error, f.Remedy)
		}
	}
	return nil
}
