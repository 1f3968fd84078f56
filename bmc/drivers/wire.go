package drivers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/holdfast-ha/holdfast/bmc"
)

// maxAnswer bounds one answer of a controller, in bytes.
const maxAnswer = 4 << 20

// wire carries the requests of bmclib's gofish driver, for one session, and
// closes what that driver leaves open:
//
//   - it lets every request end with the session's context, which the driver
//     does not pass on;
//   - it shows the driver one system, the one with the right id. The driver
//     chooses by name, and controllers of several machines give all of them one
//     name;
//   - it notes who the system says it is, from the same answer that carries its
//     power state, and lets a request to switch pass only for the expected
//     machine.
//
// The resources are those of the Redfish specification (DSP0266) and its
// schemas ComputerSystemCollection and ComputerSystem (DSP2046).
type wire struct {
	base    *http.Transport
	system  string // id of the system, empty for the only one
	options bmc.Options

	mu     sync.Mutex // guards what follows; the driver fetches members in goroutines
	ctx    context.Context
	member string // path of the system
	seen   bmc.Identity
	fault  error // the first refusal of ours, which the driver's error may hide
}

// use puts another context under the requests that follow.
func (w *wire) use(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = ctx
}

func (w *wire) identity() bmc.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// explain prefers our own refusals to what the driver made of them.
func (w *wire) explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		return nil
	}
	if w.fault != nil {
		return w.fault
	}
	return unverified(err)
}

// RoundTrip sends one request.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	ctx, refusal := w.ctx, w.refuse(r)
	w.mu.Unlock()
	if refusal != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, w.fail(refusal)
	}
	answer, err := w.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, w.fail(fmt.Errorf("the controller's answer is longer than %d bytes", maxAnswer))
	}
	if answer.StatusCode == http.StatusUnauthorized {
		_ = w.fail(errors.New("the controller does not accept this user with this password (HTTP 401)"))
	}
	if r.Method == http.MethodGet && answer.StatusCode == http.StatusOK {
		if body, err = w.look(path.Clean(r.URL.Path), body); err != nil {
			return nil, w.fail(err)
		}
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Del("Content-Length")
	return answer, nil
}

func (w *wire) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil {
		w.fault = err
	}
	return err
}

// refuse says why an action must not be sent: it is for another resource than
// the chosen system, or that is not the expected machine. Called with mu held.
func (w *wire) refuse(r *http.Request) error {
	if r.Method != http.MethodPost || !strings.Contains(r.URL.Path, "/Actions/") {
		return nil
	}
	if w.member == "" || !strings.HasPrefix(path.Clean(r.URL.Path), w.member+"/") {
		return fmt.Errorf("the controller names %s to switch the system %q, which is no action of that system", bmc.OneLine(r.URL.Path), w.member)
	}
	return w.options.Accept(w.seen)
}

// look reads the answers that matter: the collection of systems, of which one
// is left, and that system.
func (w *wire) look(at string, body []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if path.Base(at) == "Systems" {
		return w.choose(body)
	}
	if w.member != "" && at == w.member {
		return body, w.note(body)
	}
	return body, nil
}

// link is a reference to another resource.
type link struct {
	ID string `json:"@odata.id"`
}

// choose leaves one member in the collection.
func (w *wire) choose(body []byte) ([]byte, error) {
	var c struct {
		Members []link
		Links   struct{ Members []link }
		Next    string `json:"Members@odata.nextLink"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, fmt.Errorf("the controller's list of systems cannot be read: %w", err)
	}
	members := append(c.Members, c.Links.Members...) // version 1.0 and before had them below Links
	chosen, err := w.pick(members, c.Next != "")
	if err != nil {
		return nil, err
	}
	type page struct {
		Members []link
		Count   int    `json:"Members@odata.count"`
		Next    string `json:"Members@odata.nextLink,omitempty"`
	}
	one := page{Members: chosen, Count: len(chosen)}
	if len(chosen) == 0 {
		one.Next = c.Next
	} else {
		w.member = path.Clean(chosen[0].ID)
	}
	return json.Marshal(one)
}

// pick gives the system that is meant, or nothing if it may be on a later page.
func (w *wire) pick(members []link, more bool) ([]link, error) {
	var ids []string
	for _, m := range members {
		id := path.Base(path.Clean(m.ID))
		if w.system != "" && id == w.system {
			return []link{m}, nil
		}
		ids = append(ids, id)
	}
	switch {
	case w.system == "" && len(members) == 1 && !more:
		return members, nil
	case w.system != "" && more:
		return nil, nil
	case len(members) == 0:
		return nil, errors.New("the controller knows no system")
	case w.system == "":
		return nil, fmt.Errorf("the controller switches several systems (%s): name one in the reference, as in redfish://user@host/Systems/%s", strings.Join(ids, ", "), ids[0])
	}
	return nil, fmt.Errorf("the controller knows no system %q, but %s", w.system, strings.Join(ids, ", "))
}

// note keeps who the system says it is. A UUID that is none is no reason to
// fail: nobody may be expected.
func (w *wire) note(body []byte) error {
	var s struct{ HostName, UUID string }
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("the controller's description of the system cannot be read: %w", err)
	}
	w.seen = bmc.Identity{Name: bmc.OneLine(strings.TrimSpace(path.Base(w.member) + " " + s.HostName))}
	if g, err := bmc.ParseGUID(s.UUID); err == nil {
		w.seen.GUID = g
	}
	return nil
}
