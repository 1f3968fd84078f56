package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
)

// Migrate says how a running guest is handed to another node. The guest is never there
// before it is paused here (no post-copy): until the next owner is granted it, it runs
// nowhere else.
type Migrate struct {
	// To is libvirt's address of the other node, as qemu+ssh://{node}/system; {node} is
	// its name in the cluster. It has to work without a question, for root.
	To string `json:"to"`
	// Via is where the guest's memory goes, as tcp://{node}-san; default: what the other
	// node's libvirt says.
	Via string `json:"via,omitempty"`
	// Within is how long it may take, default 2 minutes and never more than half of the
	// stop's limit: then the guest is shut down.
	Within    resources.Duration `json:"within,omitempty"`
	Bandwidth int                `json:"bandwidth,omitempty"` // in MiB/s at most; 0: libvirt's default
	Throttle  bool               `json:"throttle,omitempty"`  // slow a guest down that changes its memory faster than that goes over
	TLS       bool               `json:"tls,omitempty"`       // encrypt what goes over, with libvirt's certificates
}

const (
	defaultWithin = 2 * time.Minute
	// letGo is how long an aborted migration has to end by itself, and tidyWithin how
	// long the other node's libvirt is asked to remove what is left of it there.
	letGo      = 5 * time.Second
	tidyWithin = 5 * time.Second
	// lookWithin bounds a question to the other node's libvirt.
	lookWithin = 10 * time.Second
)

// errAddress is of an address that would be the same for every node.
var errAddress = errors.New("is no address with {node} in it, such as qemu+ssh://{node}/system")

func (m *Migrate) validate() error {
	like := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:[!-~]*$`)
	switch {
	case !like.MatchString(m.To) || !strings.Contains(m.To, "{node}"):
		return fmt.Errorf("vm: migrate: to %q %w", m.To, errAddress)
	case m.Via != "" && !like.MatchString(m.Via):
		return fmt.Errorf("vm: migrate: via %q is no address, such as tcp://{node}", m.Via)
	case m.Bandwidth < 0:
		return fmt.Errorf("vm: migrate: bandwidth %d is below zero", m.Bandwidth)
	}
	return nil
}

// args are those of virsh for the migration.
func (m *Migrate) args(domain, to, goal string) []string {
	args := []string{"migrate", "--live", "--suspend", "--abort-on-error"}
	if m.Bandwidth > 0 {
		args = append(args, "--bandwidth", strconv.Itoa(m.Bandwidth))
	}
	if m.Throttle {
		args = append(args, "--auto-converge")
	}
	if m.TLS {
		args = append(args, "--tls")
	}
	args = append(args, "--domain", domain, "--desturi", to)
	if m.Via != "" {
		args = append(args, "--migrateuri", strings.ReplaceAll(m.Via, "{node}", goal))
	}
	return args
}

// handing is one hand-over: the guest here, and the place where it goes.
type handing struct {
	guest
	req   resources.Request
	there host
	note  note
}

// handOver hands the running guest to the node to which the service goes. over says that
// it does not run here any more, or that nobody knows; else the report's text says why
// it has to be shut down.
func (g guest) handOver(ctx context.Context, req resources.Request) (report resources.Report, over bool) {
	h := handing{guest: g, req: req, there: host{g.virsh, strings.ReplaceAll(g.Migrate.To, "{node}", req.Goal)}}
	if why := h.prepare(ctx); why != "" {
		return resources.Report{Text: why}, false
	}
	failed := h.migrate(ctx)
	state, err := h.state(ctx, h.Domain)
	switch {
	case err != nil:
		return resources.Unsure("%v", err), true // what is there carries no mark
	case failed == nil && down(state):
		return h.hand(ctx), true
	case failed == nil:
		failed = fmt.Errorf("virsh says that it was migrated, and here it is %s", state)
	}
	if left := h.tidy(ctx); left != "" {
		failed = fmt.Errorf("%w; %s", failed, left)
	}
	return resources.Report{Text: failed.Error()}, false
}

// prepare says why there is nothing to hand over, or no way; empty if there is. What the
// owner of a running guest finds paused on the other node is left from before.
func (h *handing) prepare(ctx context.Context) (why string) {
	state, err := h.state(ctx, h.Domain)
	if err != nil {
		return err.Error()
	} else if !runs(state) {
		return "it is " + word(state)
	}
	uuid, err := h.say(ctx, "domuuid", h.Domain)
	if err != nil {
		return err.Error()
	}
	look, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	h.note = note{Term: h.req.Term, UUID: uuid, Goal: h.req.Goal, To: h.there.at}
	if err := h.there.clear(look, h.Domain, uuid); err != nil {
		return err.Error()
	}
	if err := h.notes(h.note); err != nil {
		return err.Error()
	}
	return ""
}

// clear ends a paused copy of the guest, and fails if one runs. One that is not known to
// be a copy of it is left alone: libvirt will say that it is in the way.
func (h host) clear(ctx context.Context, domain, uuid string) error {
	state, err := h.state(ctx, domain)
	if err != nil || down(state) {
		return err
	}
	other, err := h.say(ctx, "domuuid", domain)
	if err != nil {
		return err
	}
	_, has, err := h.marked(ctx, domain)
	switch {
	case err != nil:
		return err
	case runs(state) && other == uuid:
		return fmt.Errorf("it runs there (%s), where nothing was granted: virsh -c %s destroy %s", h.at, h.at, domain)
	case state == "paused" && (has || other == uuid):
		return h.end(ctx, domain)
	}
	return nil
}

// migrate has libvirt take the guest over, paused. If that takes too long it is aborted,
// and if even that does, virsh is killed: libvirt on both sides then gives it up.
func (h *handing) migrate(ctx context.Context) error {
	within := h.Migrate.Within.Or(defaultWithin)
	if end, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(end)/2)
	}
	limit, cancel := context.WithTimeout(ctx, within+letGo)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- h.do(limit, h.Migrate.args(h.Domain, h.there.at, h.req.Goal)...) }() // ends with limit
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
	}
	for {
		abort := h.do(limit, "domjobabort", h.Domain) // again, if the job had not begun yet
		select {
		case err := <-ended:
			if err == nil {
				return nil // it was over by then
			}
			return fmt.Errorf("it had not ended within %v (%w)", within, errors.Join(err, abort))
		case <-time.After(pollEvery):
		}
	}
}

// hand marks the copy that has arrived, once the guest is gone here: from now on the next
// owner has it. Where that does not work the guest has ended with its migration, as if
// it had been destroyed, and boots on the next node.
func (h *handing) hand(ctx context.Context) resources.Report {
	look, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	err := h.markIt(look)
	if err == nil {
		report := resources.Done("%s was handed to %s as it ran: it is paused there until the service is", h.Domain, h.req.Goal)
		report.Notable = true
		return report
	}
	if left := h.tidy(ctx); left != "" {
		err = fmt.Errorf("%w; %s", err, left)
	}
	report := resources.Done("%s has ended here, and what was handed to %s as it ran cannot go on: %v", h.Domain, h.req.Goal, err)
	report.Notable = true
	return report
}

func (h *handing) markIt(ctx context.Context) error {
	// In one call: the guest waits, and each may take a connection through ssh.
	text, err := h.there.say(ctx, "domid "+h.note.UUID+"; domstate "+h.note.UUID)
	if err != nil {
		return err
	}
	id, state, _ := strings.Cut(text, "\n")
	if state = strings.TrimSpace(state); state != "paused" {
		return fmt.Errorf("its copy is %s", word(state))
	}
	h.note.Marked = true
	if err := h.notes(h.note); err != nil { // before the mark: see takenBack
		return err
	}
	return h.there.setMark(ctx, mark{Service: h.req.Service, Term: h.req.Term, UUID: h.note.UUID, ID: id, From: os.Getenv("HOLDFAST_NODE")})
}

// tidy removes a copy that nobody may resume from the other node, as well as that can be
// done: it says what is left, which is destroyed before the guest starts there.
func (h *handing) tidy(ctx context.Context) (left string) {
	ctx, cancel := context.WithTimeout(ctx, tidyWithin)
	defer cancel()
	if err := h.there.clear(ctx, h.note.UUID, h.note.UUID); err != nil {
		return fmt.Sprintf("and what is left of it on %s: %v", h.req.Goal, err)
	}
	return ""
}
