// Package report is the command holdfast report: one archive with what somebody who
// was not there needs to understand what happened, and without secrets.
//
// What the archive holds is what commands print, so that nothing is in it that an
// administrator could not have looked at before. Everything goes through a scrubber
// that knows the secrets of this node's files; a binary file that holds one is left
// out, and the archive says so.
package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/ctl/shell"
	"github.com/holdfast-ha/holdfast/internal/decisions"
	"github.com/holdfast-ha/holdfast/internal/scrub"
)

const (
	patience = 2 * time.Minute // for one command
	mostText = 32 << 20        // bytes of one command's output, or of one file
	mostLogs = 256 << 20       // bytes of the decision log, compressed; the newest count
	mostRaw  = 1 << 30         // bytes of one file of it, while it is looked through
)

// Run calls a program and gives what it has printed, whatever its exit code; an error
// says that there is nothing.
type Run func(ctx context.Context, argv ...string) ([]byte, error)

// command is one run of holdfast report.
type command struct {
	*shell.Shell
	self  Run // holdfast itself
	tool  Run // any other program
	now   func() time.Time
	to    string
	since time.Duration
	local bool
}

// Command makes the command.
func Command(sh *shell.Shell) *cobra.Command {
	r := &command{Shell: sh, tool: program, now: time.Now}
	r.self = func(ctx context.Context, argv ...string) ([]byte, error) {
		own, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return program(ctx, append([]string{own, "--config", sh.Config}, argv...)...)
	}
	return r.command()
}

func (r *command) command() *cobra.Command {
	c := r.PrintsJSON(shell.Command("report", cobra.NoArgs, func(c *cobra.Command, _ []string) error { return r.run(c.Context()) }))
	fs := c.Flags()
	fs.StringVarP(&r.to, "output", "o", "", "the archive's `file` (default: holdfast-report-NODE-TIME.tar.gz here)")
	fs.DurationVar(&r.since, "since", 24*time.Hour, "logs of this `time`")
	fs.BoolVar(&r.local, "local", false, "do not ask the other nodes")
	return c
}

// program runs a program with a deadline.
func program(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	var out, errs limited
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil // many say by their exit code how things are
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	if errs.Len() > 0 {
		out.WriteString("\n[standard error]\n" + errs.String())
	}
	return out.Bytes(), nil
}

// limited keeps the beginning of what is written to it.
type limited struct{ bytes.Buffer }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if room := mostText - l.Len(); room < len(p) {
		_, _ = l.Buffer.Write(p[:max(0, room)]) // never fails
		return len(p), nil
	}
	return l.Buffer.Write(p)
}

// item is one file of the archive.
type item struct {
	name string
	text func(ctx context.Context) ([]byte, error)
}

// Made says what an archive holds, for people and programs.
type Made struct {
	Version int      `json:"version"`
	Path    string   `json:"path"`
	Files   []string `json:"files"`
	Missing []string `json:"missing"` // what could not be had, and why
	Secrets int      `json:"secrets"` // that were known, and looked for
}

func (r *command) run(ctx context.Context) error {
	n, err := r.Node()
	if err != nil {
		return err
	}
	secrets := &scrub.Scrubber{}
	made := &Made{Version: api.Version, Files: []string{}, Missing: []string{}}
	if err := learn(secrets, r.Config, n, made); err != nil {
		return fmt.Errorf("%w: what is secret in this node's files is not known, so that no report is made", err)
	}
	made.Secrets = secrets.Known()
	stem := fmt.Sprintf("holdfast-report-%s-%s", n.Name, r.now().UTC().Format("20060102T150405Z"))
	if made.Path = r.to; made.Path == "" {
		made.Path = stem + ".tar.gz"
	}
	f, err := os.OpenFile(made.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	a := newArchive(f, stem, r.now(), secrets)
	for _, i := range r.items(ctx, n) {
		if secrets.Short() && (strings.HasPrefix(i.name, "config/") || strings.HasPrefix(i.name, "disks/")) {
			made.Missing = append(made.Missing, i.name+": a secret in it has fewer than four letters, and cannot be looked for")
			continue
		}
		if err := a.add(ctx, i, made); err != nil {
			return errors.Join(err, f.Close(), os.Remove(made.Path))
		}
	}
	r.decisions(n, a, made)
	if err := errors.Join(a.manifest(made), a.close(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(made.Path))
	}
	if r.JSON {
		return r.PrintJSON(made)
	}
	r.Say("%s: %d files; %d secrets of this node's files were looked for, and none is in it", made.Path, len(made.Files), made.Secrets)
	for _, m := range made.Missing {
		r.Say("  without %s", m)
	}
	r.Say("look through it before you give it away: names of machines, addresses and paths are in it")
	return nil
}

// learn makes every secret known that this node's files hold or name.
func learn(s *scrub.Scrubber, file string, n *config.Node, made *Made) error {
	key, err := os.ReadFile(n.Key)
	if err != nil {
		made.Missing = append(made.Missing, "the cluster key, to look for it: "+err.Error())
	}
	s.AddFile(key)
	files, err := filepath.Glob(filepath.Join(n.Dirs.State, "versions", "*.yaml"))
	if err != nil {
		return err
	}
	for _, f := range secretFiles(filepath.Dir(n.Key), filepath.Base(n.Key)) {
		if text, err := os.ReadFile(f); err == nil {
			s.AddFile(text)
		}
	}
	for _, f := range append([]string{file}, files...) {
		text, err := os.ReadFile(f)
		if err == nil {
			err = s.Learn(text, os.ReadFile)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

// credentials is where systemd shows a unit what it was passed (systemd.exec(5)).
const credentials = "/run/credentials"

// secretFiles are the files of secrets that no configuration names: passwords of
// controllers, the key that comes or was before, what services name by secret:NAME,
// and what systemd passed to the daemon.
func secretFiles(dir, key string) []string {
	var all []string
	for _, pattern := range []string{
		filepath.Join(dir, "*.secret"), filepath.Join(dir, "bmc", "*.secret"), filepath.Join(dir, "secrets", "*"),
		filepath.Join(dir, key+".*"), filepath.Join(dir, "."+key+".*"), filepath.Join(credentials, "holdfast*", "*"),
	} {
		found, _ := filepath.Glob(pattern) // fails only for a bad pattern
		all = append(all, found...)
	}
	return all
}

// items are the files of the archive but for the decision log.
func (r *command) items(ctx context.Context, n *config.Node) []item {
	own := func(name string, argv ...string) item {
		return item{name, func(ctx context.Context) ([]byte, error) { return r.self(ctx, argv...) }}
	}
	tool := func(name string, argv ...string) item {
		return item{"system/" + name, func(ctx context.Context) ([]byte, error) { return r.tool(ctx, argv...) }}
	}
	file := func(name, path string) item {
		return item{name, func(context.Context) ([]byte, error) { return os.ReadFile(path) }}
	}
	list := []item{
		own("status.json", "status", "--json"), own("status.txt", "status"), own("timing.json", "timing", "--json"),
		own("doctor.txt", "doctor"), own("doctor.json", "doctor", "--json"), own("version.json", "version", "--json"),
		own("incidents.txt", "explain", "incident"), own("history.json", "history", "--json"),
		own("config/cluster.yaml", "config", "export"), file("config/node.yaml", r.Config),
		file("config/guard.conf", filepath.Join(filepath.Dir(r.Config), "guard.conf")),
		own("watchdogs.json", "watchdog", "list", "--json"),
	}
	for i, d := range n.Disks {
		list = append(list, own(fmt.Sprintf("disks/%d.txt", i+1), "disk", "dump", d.Path))
	}
	versions, _ := filepath.Glob(filepath.Join(n.Dirs.State, "versions", "*.yaml"))
	for _, v := range versions {
		list = append(list, file("config/versions/"+filepath.Base(v), v))
	}
	for _, name := range r.nodes(ctx, n.Name) {
		list = append(list, own("nodes/"+name+"/events.jsonl", "events", "--json", "--by", name))
	}
	list = append(list, file("events.jsonl", filepath.Join(n.Dirs.State, "events.jsonl")))
	since := fmt.Sprintf("-%ds", int(r.since.Seconds()))
	return append(list,
		tool("journal.txt", "journalctl", "--no-pager", "-o", "short-iso-precise", "--since", since, "-u", "holdfastd", "-u", "holdfast-guard", "-u", "holdfast"),
		tool("kernel.txt", "journalctl", "--no-pager", "-o", "short-iso-precise", "--since", since, "-k"),
		tool("uname.txt", "uname", "-a"), tool("lsblk.txt", "lsblk", "-O", "-J"), tool("mounts.txt", "findmnt", "-l"),
		tool("multipath.txt", "multipath", "-ll"), tool("multipath.conf.txt", "multipath", "-t"), tool("iscsi.txt", "iscsiadm", "-m", "session", "-P", "1"),
		tool("addresses.txt", "ip", "-d", "-s", "address"), tool("routes.txt", "ip", "route", "show", "table", "all"),
		tool("units.txt", "systemctl", "--no-pager", "status", "holdfast", "holdfastd", "holdfast-guard"),
		tool("chrony.txt", "chronyc", "-n", "tracking"), item{"system/cmdline.txt", func(context.Context) ([]byte, error) { return os.ReadFile("/proc/cmdline") }},
	)
}

// nodes are those that are asked for their events.
func (r *command) nodes(ctx context.Context, self string) []string {
	text, err := r.self(ctx, "status", "--json")
	var s api.Status
	if err != nil || r.local || json.Unmarshal(text, &s) != nil {
		return []string{self}
	}
	var names []string
	for _, n := range s.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// decisions adds the newest files of the decision log, each unless it holds a secret:
// it keeps the configuration, and one that was changed could not be replayed.
func (r *command) decisions(n *config.Node, a *archive, made *Made) {
	files, err := decisions.Files(filepath.Join(n.Dirs.State, decisions.Folder))
	if err != nil {
		made.Missing = append(made.Missing, "the decision log: "+err.Error())
		return
	}
	if a.secrets.Short() {
		made.Missing = append(made.Missing, "the decision log: a secret in the configuration has fewer than four letters, and cannot be looked for")
		return
	}
	room := int64(mostLogs)
	for i := len(files) - 1; i >= 0 && room > 0; i-- {
		f := files[i]
		name := decisions.Folder + "/" + filepath.Base(f.Path)
		if room -= f.Size; room < 0 {
			made.Missing = append(made.Missing, fmt.Sprintf("%s and what is older: the archive would be too large", name))
			return
		}
		text, err := os.ReadFile(f.Path)
		if err == nil {
			err = clean(text, a.secrets)
		}
		if err == nil {
			err = a.put(name, text)
		}
		if err != nil {
			made.Missing = append(made.Missing, name+": "+err.Error())
			continue
		}
		made.Files = append(made.Files, name)
	}
}

// clean refuses a compressed file that holds a secret.
func clean(packed []byte, s *scrub.Scrubber) error {
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	plain, err := io.ReadAll(io.LimitReader(z, mostRaw))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // a daemon writes it, or a reset has torn it
		return err
	}
	if s.Holds(plain) {
		return errors.New("it holds a configuration with a secret in it; secrets that stand in files of their own (password_file, OPTION_file) are not in the log")
	}
	return nil
}
