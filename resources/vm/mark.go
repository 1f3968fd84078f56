package vm

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-ha/holdfast/resources"
)

// namespace and key are where the mark stands in a guest's metadata.
const (
	namespace = "https://github.com/holdfast-ha/holdfast/vm"
	key       = "holdfast"
)

// mark is what the former owner of a guest writes, once its own guest is gone, into the
// metadata of the paused copy that has arrived at the next one. It is the only thing
// that lets a copy go on. Each field says which copy is not meant:
//
//	service, term   one of another life of the service: only the owner of the very
//	                next term takes it
//	uuid            another guest of the same name
//	id              another arrival of the same guest: libvirt counts its guests, so
//	                that a mark that comes late, for a copy that is gone, fits no later one
//	from            nobody; it is told to people
//
// What carries a mark has never run where it is: the mark is taken off before the guest
// is resumed.
type mark struct {
	XMLName xml.Name `xml:"handed"`
	Service string   `xml:"service,attr"`
	Term    uint32   `xml:"term,attr"`
	UUID    string   `xml:"uuid,attr"`
	ID      string   `xml:"id,attr"`
	From    string   `xml:"from,attr,omitempty"`
}

// fits says that the mark lets this copy go on in the term of a request, or why not.
func (m mark) fits(req resources.Request, uuid, id string) error {
	switch {
	case m.Service != req.Service:
		return fmt.Errorf("it was handed over by the service %s", m.Service)
	case m.Term+1 != req.Term || m.Term == 0:
		return fmt.Errorf("it was handed over in term %d, and this is not the next one, but %d", m.Term, req.Term)
	case m.UUID != uuid || m.ID != id:
		return fmt.Errorf("its mark is that of another copy (%s, %s)", m.UUID, m.ID)
	case !req.Resume:
		return errors.New("its former owner is not known to have just released it, or the service was stopped since")
	}
	return nil
}

// marked reads the mark of a guest, and says whether it has one.
func (h host) marked(ctx context.Context, domain string) (m mark, has bool, err error) {
	res, err := h.call(ctx, "metadata", "--domain", domain, "--uri", namespace, "--live")
	switch {
	case err != nil:
		return m, false, err
	case res.Code != 0 && strings.Contains(res.Stderr, "metadata not found"):
		return m, false, nil
	case res.Code != 0:
		return m, false, fmt.Errorf("metadata of %s: %s", domain, res.Said())
	}
	if err := xml.Unmarshal([]byte(res.Stdout), &m); err != nil {
		return mark{}, true, nil // one that nobody can read fits nothing
	}
	return m, true, nil
}

// setMark writes the mark of a guest.
func (h host) setMark(ctx context.Context, m mark) error {
	text, err := xml.Marshal(m)
	if err != nil {
		return err
	}
	return h.do(ctx, "metadata", "--domain", m.UUID, "--uri", namespace, "--key", key, "--set", string(text), "--live")
}

// unmark takes the mark off.
func (h host) unmark(ctx context.Context, domain string) error {
	return h.do(ctx, "metadata", "--domain", domain, "--uri", namespace, "--remove", "--live")
}
