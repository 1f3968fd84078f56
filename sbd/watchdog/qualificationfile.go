package watchdog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// qualificationFields is the number of fields in the file's form.
const qualificationFields = 14

// qualificationFile is the file's form.
type qualificationFile struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	qualifiedSetting
	Runs []runFile `json:"runs"`
	TMax int64     `json:"t_max_ns"`
	When time.Time `json:"when"`
}

type qualifiedSetting struct {
	Node             string   `json:"node"`
	HostUUID         string   `json:"host_uuid"`
	Device           string   `json:"device"`
	Driver           string   `json:"driver"`
	DriverParameters []string `json:"driver_parameters"`
	Firmware         string   `json:"firmware"`
	KernelRelease    string   `json:"kernel_release"`
	Timeout          int64    `json:"timeout_ns"`
	Emulated         bool     `json:"emulated"`
}

type runFile struct {
	Kind   RunKind `json:"kind"`
	Actual int64   `json:"actual_ns"`
}

// MarshalJSON writes the file form that Qualification describes.
func (q Qualification) MarshalJSON() ([]byte, error) {
	if err := q.check(); err != nil {
		return nil, fmt.Errorf("qualification of %s: %w", q.Device, err)
	}
	f := qualificationFile{
		Format: qualificationFormat, Version: qualificationVersion,
		qualifiedSetting: qualifiedSetting{
			Node: q.Node, HostUUID: q.HostUUID, Device: q.Device, Driver: q.Driver,
			DriverParameters: append([]string{}, q.DriverParameters...),
			Firmware:         q.Firmware, KernelRelease: q.KernelRelease,
			Timeout: int64(q.Timeout), Emulated: q.Emulated,
		},
		TMax: int64(q.TMax), When: q.When,
	}
	for _, r := range q.Runs {
		f.Runs = append(f.Runs, runFile{Kind: r.Kind, Actual: int64(r.Actual)})
	}
	return json.Marshal(f)
}

// UnmarshalJSON reads the file form. Unknown fields, another version and runs that
// do not make up the bound are errors.
func (q *Qualification) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	if len(all) != qualificationFields {
		return fmt.Errorf("%d fields, want all %d", len(all), qualificationFields)
	}
	var f qualificationFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return err
	}
	if f.Format != qualificationFormat || f.Version != qualificationVersion {
		return fmt.Errorf("format %q version %d; this program reads %q version %d: measure the device anew",
			f.Format, f.Version, qualificationFormat, qualificationVersion)
	}
	got := Qualification{
		Setting: Setting{
			Node: f.Node, HostUUID: f.HostUUID, Device: f.Device, Driver: f.Driver,
			DriverParameters: f.DriverParameters, Firmware: f.Firmware, KernelRelease: f.KernelRelease,
			Timeout: time.Duration(f.Timeout), Emulated: f.Emulated,
		},
		TMax: time.Duration(f.TMax), When: f.When,
	}
	for _, r := range f.Runs {
		got.Runs = append(got.Runs, Run{Kind: r.Kind, Actual: time.Duration(r.Actual)})
	}
	if err := got.check(); err != nil {
		return err
	}
	*q = got
	return nil
}

// SaveQualification writes the record to path with mode 0600, replacing an older
// one as a whole: after a crash the file is the old or the new one.
func SaveQualification(path string, q Qualification) error {
	b, err := json.MarshalIndent(q, "", "  ")
	if err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".qualification-*") // created with mode 0600
	if err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LoadQualification reads a record. A file that others may write is refused: who
// shortens the bound in it takes the ground from every proof of death.
func LoadQualification(path string) (Qualification, error) {
	var q Qualification
	st, err := os.Stat(path)
	if err != nil {
		return q, err
	}
	if mode := st.Mode().Perm(); mode&0o022 != 0 {
		return q, fmt.Errorf("load %s: mode %04o lets others write it; chmod 0600 after you have looked at it", path, mode)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return q, err
	}
	if err := json.Unmarshal(b, &q); err != nil {
		return Qualification{}, fmt.Errorf("load %s: %w", path, err)
	}
	return q, nil
}
