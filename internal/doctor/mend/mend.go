// Package mend carries out what the doctor's findings would have changed, and takes
// it back.
//
// Before anything is touched, what stands there is written to a record, one file for
// each change in the order in which they were made. Undo goes through them backwards:
// a file that was there is put back with its mode, one that was not is removed, and
// commands have their opposites in the record. A file that somebody has changed since
// is left alone, and said: his change may be the better one.
package mend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/internal/doctor"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Bench is where changes are made.
type Bench struct {
	Root    string // "/", or a directory that stands for it
	Records string // folder of the records
	Run     program.Runner
	Now     func() time.Time
}

// Record is one change as it was made.
type Record struct {
	Version int            `json:"version"`
	Check   string         `json:"check"`
	On      string         `json:"on,omitempty"`
	Time    time.Time      `json:"time"`
	Text    string         `json:"text"`
	Before  []Before       `json:"before"`
	Change  *doctor.Change `json:"change"`
}

// Before is a file as it was before a change.
type Before struct {
	Path string      `json:"path"`
	Kind string      `json:"kind"` // "", file, link: the empty one was not there
	Text string      `json:"text,omitempty"`
	Mode fs.FileMode `json:"mode,omitempty"`
	Dirs []string    `json:"dirs,omitempty"` // that were made for it, the outermost first
}

const (
	recordVersion = 1
	none          = ""
	plain         = "file"
	link          = "link"
)

// Do makes one change. When a step fails, what was done before it is taken back, as
// far as that works, and the record is gone.
func (b *Bench) Do(ctx context.Context, x doctor.Finding) error {
	r := Record{Version: recordVersion, Check: x.Check, On: x.On, Time: b.Now().UTC(), Text: x.Fix.Text, Change: x.Fix}
	for _, e := range x.Fix.Files {
		before, err := b.look(e.Path)
		if err != nil {
			return err
		}
		r.Before = append(r.Before, before)
	}
	path, err := b.note(&r)
	if err != nil {
		return err
	}
	for _, e := range x.Fix.Files {
		if err := b.write(e); err != nil {
			return errors.Join(err, b.back(ctx, path, &r, nil))
		}
	}
	if err := b.all(ctx, x.Fix.Run); err != nil {
		return errors.Join(err, b.back(ctx, path, &r, x.Fix.Back))
	}
	return nil
}

// look notes what stands at a place.
func (b *Bench) look(place string) (Before, error) {
	w := Before{Path: place}
	path := filepath.Join(b.Root, place)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for dir := filepath.Dir(place); ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(b.Root, dir)); err == nil || dir == "/" || dir == "." {
				return w, nil
			}
			w.Dirs = append([]string{dir}, w.Dirs...)
		}
	case err != nil:
		return w, err
	case info.Mode()&fs.ModeSymlink != 0:
		w.Kind = link
		w.Text, err = os.Readlink(path)
		return w, err
	case !info.Mode().IsRegular():
		return w, fmt.Errorf("%s is neither a file nor a link", place)
	}
	text, err := os.ReadFile(path)
	w.Kind, w.Text, w.Mode = plain, string(text), info.Mode().Perm()
	return w, err
}

// note writes a record, before the change is made.
func (b *Bench) note(r *Record) (string, error) {
	if err := os.MkdirAll(b.Records, 0o700); err != nil {
		return "", err
	}
	list, err := b.names()
	if err != nil {
		return "", err
	}
	number := 1
	if len(list) > 0 {
		if _, err := fmt.Sscanf(filepath.Base(list[len(list)-1]), "%d-", &number); err != nil {
			return "", fmt.Errorf("%s: its name has no number: %w", list[len(list)-1], err)
		}
		number++
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.Records, fmt.Sprintf("%06d-%s.json", number, r.Check))
	return path, replace(path, text, 0o600)
}

func (b *Bench) names() ([]string, error) {
	list, err := filepath.Glob(filepath.Join(b.Records, "[0-9]*-*.json"))
	slices.Sort(list)
	return list, err
}

// write makes one file as it shall be.
func (b *Bench) write(e doctor.Edit) error {
	path := filepath.Join(b.Root, e.Path)
	if e.Value { // of the kernel: it is there or it is not
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(e.Text)
		return errors.Join(err, f.Close())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if e.Link != "" {
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s is a file of this machine's administrator, and is left alone: remove it, and run holdfast doctor --fix again", e.Path)
		}
		return relink(path, e.Link)
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	return replace(path, []byte(e.Text), mode)
}

func relink(path, to string) error {
	if err := os.Remove(path + ".holdfast"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(to, path+".holdfast"); err != nil {
		return err
	}
	return os.Rename(path+".holdfast", path)
}

// replace writes a file as a whole and durably.
func replace(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path+".holdfast", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".holdfast", path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+".holdfast"))
	}
	return nil
}

func (b *Bench) all(ctx context.Context, commands [][]string) error {
	for _, argv := range commands {
		res, err := b.Run(ctx, program.Command{Argv: argv})
		if err == nil && res.Code != 0 {
			err = fmt.Errorf("it exits with %d: %s", res.Code, res.Said())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
	}
	return nil
}

// Made are the changes that can be taken back, the oldest first.
func (b *Bench) Made() ([]Record, error) {
	names, err := b.names()
	if err != nil {
		return nil, err
	}
	var all []Record
	for _, n := range names {
		r, err := read(n)
		if err != nil {
			return nil, err
		}
		all = append(all, *r)
	}
	return all, nil
}

func read(path string) (*Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Version != recordVersion || r.Change == nil {
		return nil, fmt.Errorf("%s is a record of another version of holdfast (%d)", path, r.Version)
	}
	return &r, nil
}

// Undo takes back all changes, the newest first, and tells of each. It stops at the
// first that cannot be taken back; those before it stay recorded.
func (b *Bench) Undo(ctx context.Context, tell func(*Record)) error {
	names, err := b.names()
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(names) {
		r, err := read(n)
		if err != nil {
			return err
		}
		for i, e := range r.Change.Files {
			if err := b.same(e, r.Before[i].Path); err != nil {
				return err
			}
		}
		if err := b.back(ctx, n, r, r.Change.Back); err != nil {
			return err
		}
		tell(r)
	}
	return nil
}

// same refuses a file that is not as the change has left it.
func (b *Bench) same(e doctor.Edit, place string) error {
	now, err := b.look(place)
	if err != nil {
		return err
	}
	switch {
	case e.Value: // of a kernel that may have been started since
	case now.Kind == none: // it is gone already, and what was there comes back
	case e.Link != "" && now.Kind == link && now.Text == e.Link:
	case e.Link == "" && now.Kind == plain && now.Text == e.Text:
	default:
		return fmt.Errorf("%s was changed by somebody else since holdfast doctor --fix wrote it: it is left alone; what was there before stands in %s", place, b.Records)
	}
	return nil
}

// back puts the files as they were, calls the commands, and forgets the record.
func (b *Bench) back(ctx context.Context, path string, r *Record, commands [][]string) error {
	for i, w := range slices.Backward(r.Before) {
		if err := b.restore(w, r.Change.Files[i].Value); err != nil {
			return err
		}
	}
	if err := b.all(ctx, commands); err != nil {
		return err
	}
	return os.Remove(path)
}

func (b *Bench) restore(w Before, value bool) error {
	path := filepath.Join(b.Root, w.Path)
	switch {
	case value:
		err := b.write(doctor.Edit{Path: w.Path, Text: w.Text, Value: true})
		if errors.Is(err, fs.ErrNotExist) {
			return nil // what it was a setting of is gone, as a session after a boot
		}
		return err
	case w.Kind == plain:
		return replace(path, []byte(w.Text), w.Mode)
	case w.Kind == link:
		return relink(path, w.Text)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, dir := range slices.Backward(w.Dirs) {
		_ = os.Remove(filepath.Join(b.Root, dir)) // somebody else has put something there
	}
	return nil
}
