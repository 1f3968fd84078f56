package iscsi

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

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/iscsi"
	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage"
)

// Hold makes the sessions of a member whose disks reservations guard: over every
// portal that has none, and anew where the kernel has given up a disk that nothing
// uses. It returns nil once a session works and has a disk, so that one portal that
// is down keeps nobody from the others. Sessions that carry a quorum disk too are left
// as the system has made them.
func Hold(ctx context.Context, spec json.RawMessage) error {
	s, err := parse(resources.Request{Spec: spec})
	if err != nil {
		return err
	}
	settings, err := s.settings()
	if err != nil {
		return err
	}
	i := initiator()
	sessions, err := i.Sessions(s.Target)
	if err != nil {
		return err
	}
	if disk := ofQuorum(sessions); disk != "" {
		if up, disks := count(sessions); up > 0 && disks > 0 && !slices.ContainsFunc(sessions, broken) {
			return nil
		}
		return fmt.Errorf("%s carries a quorum disk too, %s, so that its sessions are the system's, and not all of its disks work: holdfast node standby, then iscsiadm -m node -T %s --logout, and --login", s.Target, disk, s.Target)
	}
	if err := s.mend(ctx, i); err != nil {
		return err
	}
	missing, err := s.missing(i)
	if err != nil {
		return err
	}
	failed := s.insist(ctx, i, settings, missing)
	if len(failed) == len(s.Portals) {
		return errors.New(oneLine(failed))
	}
	_, _, err = s.await(ctx, i)
	return err
}

// mend ends sessions with a disk that only a new session brings back.
func (s Spec) mend(ctx context.Context, i iscsi.Initiator) error {
	sessions, err := i.Sessions(s.Target)
	if err != nil || !slices.ContainsFunc(sessions, broken) {
		return err
	}
	switch users, err := users(sessions); {
	case err != nil:
		return fmt.Errorf("who uses the disks of %s: %w", s.Target, err)
	case len(users) > 0:
		return fmt.Errorf("the kernel has given up a disk of %s, which is still in use: %s", s.Target, strings.Join(users, "; "))
	}
	return i.Logout(ctx, s.Target)
}

// Held says which portals of a member have no session, and whether a session works
// and has a disk. It asks nobody but the kernel.
func Held(spec json.RawMessage) (missing []string, works bool, err error) {
	s, err := parse(resources.Request{Spec: spec})
	if err != nil {
		return nil, false, err
	}
	i := initiator()
	sessions, err := i.Sessions(s.Target)
	if err != nil {
		return nil, false, err
	}
	up, disks := count(sessions)
	missing, err = s.missing(i)
	return missing, up > 0 && disks > 0 && !slices.ContainsFunc(sessions, broken), err
}

// missing lists the portals without a session. One whose address the kernel does
// not tell may be any of them: then a login is tried, which a session that is there
// answers at once.
func (s Spec) missing(i iscsi.Initiator) ([]string, error) {
	sessions, err := i.Sessions(s.Target)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(s.Portals), func(portal string) bool {
		return slices.ContainsFunc(sessions, func(k iscsi.Session) bool { return k.Portal == portal })
	}), nil
}

// take waits for the node's sessions and notes that the service uses them. It never
// logs in: a session that came here would write without a key, and fail.
func (s Spec) take(ctx context.Context, req resources.Request) resources.Report {
	up, disks, err := s.await(ctx, initiator())
	if err != nil {
		return resources.Failure("the node holds no session with %s that works: %v; holdfastd logs in before it registers its key: holdfast status --node", s.Target, err)
	}
	path := note(req)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
		return resources.Failure("%v", err)
	}
	return resources.Done("%s, held by the node", s.summary(up, disks, nil))
}

// leave verifies that nothing on this node uses the disks, and leaves the sessions
// to the node.
func (s Spec) leave(ctx context.Context, req resources.Request, i iscsi.Initiator) resources.Report {
	sessions, err := i.Sessions(s.Target)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	users, err := users(sessions)
	switch {
	case err != nil:
		return resources.Unsure("who uses the disks of %s: %v", s.Target, err)
	case len(users) > 0:
		r := resources.Failure("the disks of %s are in use", s.Target)
		r.Holders = users
		return r
	}
	if err := os.Remove(note(req)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return resources.Failure("%v", err)
	}
	return resources.Done("nothing uses the disks of %s; its sessions stay with the node", s.Target)
}

// broken says that the kernel has given up a disk of a session, which only a new
// one brings back.
func broken(s iscsi.Session) bool {
	return slices.ContainsFunc(s.Disks, func(d iscsi.Disk) bool { return s.State == "LOGGED_IN" && d.State == "offline" })
}

// users says who uses the disks of sessions: what is built on them, such as a
// multipath map, is asked in their place. A disk that is gone is used by nobody, and
// one that the kernel has given up lets nobody in.
func users(sessions []iscsi.Session) (list []string, err error) {
	for _, session := range sessions {
		for _, d := range session.Disks {
			names := d.Holders
			if len(names) == 0 {
				names = []string{d.Name}
			}
			for _, name := range names {
				found, err := storage.InUse(filepath.Join("/dev", name))
				if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
					continue
				} else if err != nil {
					return nil, err
				}
				if len(found) > 0 {
					list = append(list, fmt.Sprintf("%s of %s: %s", name, session.ID, strings.Join(found, ", ")))
				}
			}
		}
	}
	return list, nil
}

// probe says whether the service uses the node's sessions: by the note, for a
// session is no sign of it.
func (s Spec) probe(req resources.Request) resources.Report {
	switch _, err := os.Stat(note(req)); {
	case err == nil:
		return resources.Done("the service uses the node's sessions with %s", s.Target)
	case errors.Is(err, fs.ErrNotExist):
		return resources.Absent("the service does not use the node's sessions with %s", s.Target)
	default:
		return resources.Unsure("%v", err)
	}
}

func taken(req resources.Request) bool {
	_, err := os.Stat(note(req))
	return err == nil
}

// note says that the service uses the sessions, until the next boot.
func note(req resources.Request) string {
	dir := "/run/holdfast"
	if d := os.Getenv("HOLDFAST_RUN"); d != "" {
		dir = d
	}
	return filepath.Join(dir, "iscsi", req.Service+"-"+req.Member)
}
