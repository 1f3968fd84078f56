// Package export gives a directory to NFS clients as a member of a service.
//
//	export: {path: /srv/orders, clients: [192.0.2.0/24], options: "rw,no_subtree_check"}
//
// The server itself (nfs-server.service, or the kernel's threads by other means)
// runs on every node; what moves is the export, with the address that clients
// mount. The file system's identity in file handles is the same on all nodes,
// derived from service and path unless it is given: a client goes on with the handles
// that it has. A stop takes the export back, and has the server let go of the files
// that it holds open for clients, so that the file system below can be unmounted.
package export

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// Spec is what the configuration says of an export member.
type Spec struct {
	Path    string   `json:"path"`
	Clients []string `json:"clients"`           // hosts, networks, netgroups as in exports(5); * for all
	Options string   `json:"options,omitempty"` // as in exports(5); default rw,no_subtree_check
	FSID    string   `json:"fsid,omitempty"`    // a UUID or a number, the same on all nodes
}

const usualOptions = "rw,no_subtree_check"

// Agent is the kind "export".
type Agent struct{}

var (
	_ resources.Agent  = Agent{}
	_ resources.Fitter = Agent{}
)

// Start implements resources.Agent.
func (Agent) Start(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	if err := serving(); err != nil {
		return resources.Missing("%v", err)
	}
	if info, err := os.Stat(s.Path); err != nil || !info.IsDir() {
		return resources.Failure("%s is no directory (%v); is its file system above it in the stack?", s.Path, err)
	}
	for _, client := range s.Clients {
		res, err := exportfs(ctx, "-i", "-o", s.Options+",fsid="+s.FSID, target(client, s.Path))
		switch {
		case err != nil:
			return resources.Unsure("%v", err)
		case res.Code != 0:
			return resources.Failure("exportfs %s: %s", target(client, s.Path), res.Said())
		}
	}
	missing, _, err := s.compare(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(missing) > 0:
		return resources.Failure("%s is not exported to %s although exportfs says so", s.Path, strings.Join(missing, ", "))
	}
	return resources.Done("%s is exported to %s", s.Path, strings.Join(s.Clients, ", "))
}

// Stop implements resources.Agent. Clients that the specification does not name
// any more lose the export too.
func (Agent) Stop(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	_, present, err := s.compare(ctx)
	if errors.Is(err, exec.ErrNotFound) {
		return resources.Done("exportfs is not installed: nothing is exported")
	} else if err != nil {
		return resources.Unsure("%v", err)
	}
	for _, client := range present {
		if res, err := exportfs(ctx, "-u", target(client, s.Path)); err != nil {
			return resources.Unsure("%v", err)
		} else if res.Code != 0 {
			return resources.Failure("take back %s: %s", target(client, s.Path), res.Said())
		}
	}
	_, present, err = s.compare(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(present) > 0:
		return resources.Failure("%s is still exported to %s", s.Path, strings.Join(present, ", "))
	}
	if err := s.letGo(ctx); err != nil {
		return resources.Failure("%v", err)
	}
	return resources.Done("%s is not exported", s.Path)
}

// Check implements resources.Agent.
func (Agent) Check(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return fatal(err)
	}
	missing, present, err := s.compare(ctx)
	switch {
	case err != nil:
		return resources.Unsure("%v", err)
	case len(present) == 0:
		return resources.Absent("%s is not exported", s.Path)
	case len(missing) > 0:
		return resources.Failure("%s is not exported to %s", s.Path, strings.Join(missing, ", "))
	}
	if err := serving(); err != nil {
		return resources.Failure("%s is exported, but %v", s.Path, err)
	}
	return resources.Done("%s is exported", s.Path)
}

// Probe implements resources.Agent.
func (Agent) Probe(ctx context.Context, req resources.Request) resources.Report {
	s, err := parse(req)
	if err != nil {
		return resources.Unsure("%v", err)
	}
	_, present, err := s.compare(ctx)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return resources.Absent("exportfs is not installed: nothing is exported")
	case err != nil:
		return resources.Unsure("%v", err)
	case len(present) == 0:
		return resources.Absent("%s is not exported", s.Path)
	}
	return resources.Done("%s is exported", s.Path)
}

// Fit implements resources.Fitter.
func (Agent) Fit(_ context.Context, req resources.Request) resources.Report {
	if _, err := parse(req); err != nil {
		return fatal(err)
	}
	if _, err := exec.LookPath("exportfs"); err != nil {
		return resources.Missing("exportfs is not installed on this node; apt-get install nfs-kernel-server")
	}
	if err := serving(); err != nil {
		return resources.Missing("%v", err)
	}
	return resources.Done("the NFS server runs here")
}

func fatal(err error) resources.Report {
	return resources.Report{Outcome: resources.Failed, Severity: resources.Fatal, Text: err.Error()}
}

func parse(req resources.Request) (Spec, error) {
	s := Spec{Options: usualOptions}
	if err := resources.DecodeSpec(req.Spec, &s); err != nil {
		return s, err
	}
	switch {
	case !filepath.IsAbs(s.Path) || filepath.Clean(s.Path) != s.Path || s.Path == "/" || strings.ContainsAny(s.Path, " \t\n\"\\"):
		return s, fmt.Errorf("export needs path, an absolute one without blanks that is not the root (have %q)", s.Path)
	case len(s.Clients) == 0:
		return s, errors.New("export needs clients: who may mount it, such as [192.0.2.0/24]")
	case strings.Contains(s.Options, "fsid="):
		return s, errors.New("export: fsid stands beside options, not in it")
	case !regexp.MustCompile(`^[A-Za-z0-9_=,.:/@*-]*$`).MatchString(s.Options):
		return s, fmt.Errorf("export: options %q", s.Options)
	}
	for _, c := range s.Clients {
		if !regexp.MustCompile(`^[A-Za-z0-9*?@\[][A-Za-z0-9*?@_.:/\[\]-]*$`).MatchString(c) {
			return s, fmt.Errorf("export: %q is no client", c)
		}
	}
	if s.FSID == "" {
		sum := sha256.Sum256([]byte(req.Service + "\x00" + s.Path))
		s.FSID = fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	}
	return s, nil
}

func exportfs(ctx context.Context, args ...string) (program.Result, error) {
	return program.Run(ctx, program.Command{Argv: append([]string{"exportfs"}, args...)})
}

// target is a client and a path as exportfs takes them; an address of IPv6 stands in
// brackets there.
func target(client, path string) string {
	if strings.Count(client, ":") > 1 && !strings.HasPrefix(client, "[") {
		address, length, network := strings.Cut(client, "/")
		client = "[" + address + "]"
		if network {
			client += "/" + length
		}
	}
	return client + ":" + path
}

// compare says to which of its clients the path is not exported, and to whom it is.
func (s Spec) compare(ctx context.Context) (missing, present []string, err error) {
	res, err := exportfs(ctx, "-s")
	switch {
	case err != nil:
		return nil, nil, err
	case res.Code != 0:
		return nil, nil, fmt.Errorf("exportfs -s exits with %d: %s", res.Code, res.Said())
	}
	for line := range strings.Lines(res.Stdout) {
		fields := strings.Fields(line)
		if len(fields) != 2 || strings.Trim(fields[0], `"`) != s.Path {
			continue
		}
		client, _, _ := strings.Cut(fields[1], "(")
		present = append(present, client)
	}
	for _, c := range s.Clients {
		if !slices.Contains(present, c) && !slices.Contains(present, strings.Trim(c, "[]")) {
			missing = append(missing, c)
		}
	}
	return missing, present, nil
}

// nfsd is the kernel's file system of its server.
func nfsd() string {
	if d := os.Getenv("HOLDFAST_NFSD"); d != "" {
		return d
	}
	return "/proc/fs/nfsd"
}

// serving says why nobody would answer the clients.
func serving() error {
	text, err := os.ReadFile(filepath.Join(nfsd(), "threads"))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("this node's kernel runs no NFS server; systemctl start nfs-server")
	} else if err != nil {
		return err
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n == 0 {
		return errors.New("the NFS server of this node has no threads; systemctl start nfs-server")
	}
	return nil
}

// flush has the server forget which exports it knows, and close the files that it keeps
// open for nobody.
func flush(ctx context.Context) error {
	if res, err := exportfs(ctx, "-f"); err != nil || res.Code != 0 {
		return fmt.Errorf("flush the server's cache of exports: %s", res.Said())
	}
	return nil
}

// letGo has the server forget what it knows of the file system: its cache of
// exports, and the files that clients have open or locked through it. A server that
// does not run holds nothing.
func (s Spec) letGo(ctx context.Context) error {
	if err := flush(ctx); err != nil {
		return err
	}
	ends := filepath.Join(nfsd(), "unlock_filesystem")
	if _, err := os.Stat(ends); err != nil {
		return nil // no server runs
	}
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(ends, []byte(s.Path+"\n"), 0) }() // ends with this agent process
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("have the server let go of files in %s: %w", s.Path, err)
		}
		return s.expire(ctx)
	case <-ctx.Done():
		return fmt.Errorf("the server has not let go of files in %s in time", s.Path)
	case <-time.After(time.Minute):
		return fmt.Errorf("the server has not let go of files in %s within a minute", s.Path)
	}
}
