package ocf

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// metadataFor is for how long what an agent said of itself is believed without asking
// again. A program that was exchanged is asked again at once.
const metadataFor = time.Hour

// said is what an agent has answered to meta-data: every start and every question
// whether it would run here needs it, and asking takes as long as a start.
type said struct {
	Path   string
	Inode  uint64
	Size   int64
	Change time.Time // of the file's inode: whatever is done to it moves that
	At     time.Time // when it answered
	Text   string
}

// identity says which program it was; false where that cannot be told.
func (s *said) identity() bool {
	var st syscall.Stat_t
	if syscall.Stat(s.Path, &st) != nil {
		return false
	}
	s.Inode, s.Size, s.Change = st.Ino, st.Size, time.Unix(st.Ctim.Unix())
	return true
}

// same says that it is still that program, asked not long ago.
func (s *said) same(o *said) bool {
	age := time.Since(s.At)
	return s.Path == o.Path && s.Inode == o.Inode && s.Size == o.Size && s.Change.Equal(o.Change) && age >= 0 && age < metadataFor
}

// recall returns what is kept of an agent, empty if it has to be asked; now is to be
// passed to keep with its answer.
func recall(file, path string) (text string, now said) {
	now = said{Path: path}
	var kept said
	raw, err := os.ReadFile(file)
	if !now.identity() || err != nil || json.Unmarshal(raw, &kept) != nil || !kept.same(&now) {
		return "", now
	}
	return kept.Text, now
}

// keep keeps an answer of the program that recall has seen. It is lost with the boot,
// and what cannot be kept is asked for again.
func keep(file string, of said, text string) {
	is := said{Path: of.Path, At: of.At}
	of.At = time.Now()
	if is.At = of.At; of.Inode == 0 || !is.identity() || !is.same(&of) {
		return // exchanged meanwhile
	}
	of.Text = text
	raw, err := json.Marshal(of)
	if err != nil || os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	next, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return
	}
	_, err = next.Write(raw)
	if next.Close() != nil || err != nil || os.Rename(next.Name(), file) != nil {
		_ = os.Remove(next.Name())
	}
}
