// Package mark leaves word of the bound incarnation in the run directory, which
// must not outlive a boot: a guard that was killed while bound must not be
// replaced by one that feeds the watchdogs.
package mark

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-ha/holdfast/cluster/ident"
)

// File is the mark's name in the run directory.
const File = "bound"

// Write says, before a claim is obeyed, that this boot is bound to inc: one
// line "boot-id number". It is durable as far as another process can tell; it
// need not survive the boot.
func Write(dir string, inc ident.Incarnation) error {
	path := filepath.Join(dir, File)
	text := fmt.Sprintf("%v %d\n", inc.Boot, inc.N)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	return nil
}

// Read says whether an incarnation of this boot is marked as bound. A mark
// of another boot is removed. One that does not parse counts as bound: whoever
// wrote it was about to claim.
func Read(dir string, boot ident.BootID) (ident.Incarnation, bool, error) {
	path := filepath.Join(dir, File)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return ident.Incarnation{}, false, nil
	}
	if err != nil {
		return ident.Incarnation{}, false, fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	var id string
	var inc ident.Incarnation
	if _, err := fmt.Sscanf(string(text), "%s %d\n", &id, &inc.N); err != nil {
		return inc, true, nil
	}
	u, err := ident.ParseUUID(id)
	if err != nil {
		return inc, true, nil
	}
	if inc.Boot = ident.BootID(u); inc.Boot == boot {
		return inc, true, nil
	}
	return inc, false, Remove(dir)
}

// Remove takes the mark away: the incarnation has retired.
func Remove(dir string) error {
	err := os.Remove(filepath.Join(dir, File))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mark of the bound incarnation: %w", err)
	}
	return nil
}
