package accept

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/stage"
)

const firstCluster = "../../docs/manual/first-cluster.md"

// TestFirstCluster types the first-cluster page of the manual, line by line and in its
// order, on the nodes that it names, and writes the file that it shows. It fails with a
// line that does not work, and with one that it would not know how to type.
//
// What is another thing here than on the page stands in (*reader).here; what people do
// beside typing, and what systemd does, in (*reader).type1. The rest is as printed.
func TestFirstCluster(t *testing.T) {
	wanted(t, true)
	ctx := limit(t, 6*time.Minute)
	logs := t.TempDir()
	s, err := stage.Raise(ctx, stage.Options{
		Bin: built(), Root: true, Logs: logs, Names: []string{"alpha", "beta"}, Within: 10 * time.Second,
		Services: []stage.Service{{Name: "orders"}}, Scenery: &stage.Scenery{Unformed: true, Disks: []stage.DataDisk{{Name: "data", Size: 400 << 20}}},
	})
	if err != nil {
		showLogs(t, logs)
		t.Fatalf("two servers: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("left behind: %v", err)
		}
		if t.Failed() {
			showLogs(t, logs)
		}
	})
	page, err := os.ReadFile(firstCluster)
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t, s)
	typed := 0
	for _, b := range blocks(string(page)) {
		switch {
		case b.file != "":
			must(t, os.WriteFile(filepath.Join(r.dir, b.file), []byte(r.here(b.text)), 0o600))
		default:
			for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
				t.Logf("%s# %s", b.node, line)
				if err := r.type1(ctx, s.Node(b.node), r.here(line)); err != nil {
					t.Fatalf("%s# %s: %v", b.node, line, err)
				}
				typed++
			}
		}
	}
	if typed < 15 {
		t.Errorf("only %d lines were typed: is the page read as it is written?", typed)
	}
	r.end(ctx, s)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// block is an indented block of the page: what is typed, and where; or a fenced one:
// what is written into a file.
type block struct {
	node, file, text string
}

// blocks reads the page. A block is typed on beta if the words before it say "on beta",
// else on alpha. A fenced block is the file that the words before it name last.
func blocks(page string) []block {
	var list []block
	var words, code []string
	fenced := false
	flush := func() {
		if text := strings.Join(code, "\n"); strings.TrimSpace(text) != "" {
			b := block{node: "alpha", text: text + "\n"}
			if strings.Contains(strings.Join(words, " "), "on beta") {
				b.node = "beta"
			}
			list = append(list, b)
			words = nil
		}
		code = nil
	}
	for _, line := range strings.Split(page, "\n") {
		switch indented := strings.HasPrefix(line, "    "); {
		case strings.HasPrefix(line, "```") && !fenced:
			flush()
			fenced = true
		case strings.HasPrefix(line, "```"):
			fenced = false
			names := regexp.MustCompile("`([a-z.]+[.]yaml)`").FindAllStringSubmatch(strings.Join(words, " "), -1)
			file := "unnamed"
			if len(names) > 0 {
				file = names[len(names)-1][1]
			}
			list = append(list, block{file: file, text: strings.Join(code, "\n") + "\n"})
			words, code = nil, nil
		case fenced:
			code = append(code, line)
		case indented:
			code = append(code, strings.TrimPrefix(line, "    "))
		default:
			flush()
			words = append(words, line)
		}
	}
	flush()
	return list
}

// reader types what stands on a page.
type reader struct {
	t     *testing.T
	s     *stage.Stage
	dir   string // where it works, and where a holdfast for each node is
	token string
	swap  *strings.Replacer
}

// newReader writes what stands for /usr/bin/holdfast on each node: the same program,
// which finds the node's files, and of init and join is told of emulated watchdogs
// and that power emulator what real machines find in /dev.
func newReader(t *testing.T, s *stage.Stage) *reader {
	t.Helper()
	r := &reader{t: t, s: s, dir: t.TempDir()}
	for _, n := range s.Nodes {
		bin := filepath.Join(r.dir, n.Name)
		must(t, os.Mkdir(bin, 0o755))
		var flags []string
		for i, f := 0, n.Flags(); i < len(f); i++ { // but for the links, which are on the page
			if f[i] == "--link" {
				i++
				continue
			}
			flags = append(flags, "'"+f[i]+"'")
		}
		program := filepath.Join(s.Bin, "holdfast")
		must(t, os.WriteFile(filepath.Join(bin, "holdfast"), []byte(fmt.Sprintf(
			"#!/bin/sh\ncase \"$1\" in init|join) exec %s --config %s \"$@\" %s;; esac\nexec %s --config %s \"$@\"\n",
			program, n.Config(), strings.Join(flags, " "), program, n.Config())), 0o755))
	}
	server := s.File("orders-server")
	must(t, os.WriteFile(server, []byte("#!/bin/sh\nexec sleep infinity\n"), 0o755))
	r.swap = strings.NewReplacer(
		"/dev/disk/by-id/wwn-0x600508b1001c3a2b", s.QuorumPath(1), // the quorum disk
		"/dev/disk/by-id/wwn-0x600508b1001c4d5e", s.DiskPath("data"), // the LUN for the data
		"10.0.0.11", "10.77.0.1", "10.1.0.11", "10.77.1.1", // alpha's links
		"10.0.0.12", "10.77.0.2", "10.1.0.12", "10.77.1.2", // beta's
		"192.0.2.10/24", "10.77.2.100/24", // an address that the clients' network has
		"/usr/local/bin/orders-server", server, // the program
	)
	return r
}

// here is a text of the page as it is in this place.
func (r *reader) here(text string) string {
	return strings.ReplaceAll(r.swap.Replace(text), "TOKEN", r.token)
}

// type1 types a line and waits for what a person would wait for before the next one.
func (r *reader) type1(ctx context.Context, n *stage.Node, line string) error {
	words := strings.Fields(line)
	is := func(w ...string) bool { return len(words) >= len(w) && slices.Equal(words[:len(w)], w) }
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	switch {
	case is("systemctl", "enable", "--now", "holdfast"): // there is no systemd here: both units start
		if err := n.Start(within); err != nil {
			return err
		}
		return r.s.AwaitMembers(within, n)
	case is("systemctl"), !is("holdfast") && !is("mkfs.xfs"):
		return errors.New("a line that this test does not know how to type")
	case is("holdfast", "events", "--follow"): // until the takeover is seen, then Ctrl-C
		return stage.Await(within, "events tell of the takeover", func() error {
			out, err := r.shell(n, "timeout --preserve-status -s INT 5 "+line+" || [ $? = 130 ]")
			if err == nil && !regexp.MustCompile(`(?s)fencing .*started +started \(orders, beta`).MatchString(out) {
				err = fmt.Errorf("not yet: %s", out)
			}
			if err == nil {
				r.t.Logf("%s", out)
			}
			return err
		})
	}
	out, err := r.shell(n, line)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	r.t.Logf("%s", out)
	switch {
	case is("holdfast", "token"):
		if r.token = regexp.MustCompile(`hf1-[A-Za-z0-9_-]+`).FindString(out); r.token == "" {
			return errors.New("it prints no token")
		}
	case is("holdfast", "apply"):
		return r.s.AwaitRunning(within)
	case is("holdfast", "service", "failback"):
		return r.runsOn(within, "alpha")
	case is("holdfast", "service", "move"):
		return r.runsOn(within, "beta")
	case is("holdfast", "node", "fence") && !slices.Contains(words, "--dry-run"):
		return r.runsOn(within, "beta")
	}
	return nil
}

func (r *reader) runsOn(ctx context.Context, name string) error {
	return stage.Await(ctx, "orders runs on "+name, func() error {
		n, err := r.s.Owner(ctx, r.s.Services[0])
		if err == nil && (n == nil || n.Name != name) {
			err = fmt.Errorf("it runs on %v", n)
		}
		return err
	})
}

// shell types into the node's shell, where status may end with 1, a warning: that all
// of this is emulated is one. A question is answered with the word that it asks for.
func (r *reader) shell(n *stage.Node, line string) (string, error) {
	script := fmt.Sprintf("cd %s; PATH=%s:$PATH; ", r.dir, filepath.Join(r.dir, n.Name))
	if strings.HasPrefix(line, "holdfast status") {
		line += " || [ $? = 1 ]"
	}
	out, err := n.Shell(script + line)
	if err == nil {
		return out, nil
	}
	asked := regexp.MustCompile(`"" was typed, not "([a-z]+)": nothing was changed`).FindStringSubmatch(err.Error())
	if asked == nil {
		return out, err
	}
	return n.Shell(script + "echo " + asked[1] + " | " + line)
}

// end does what the last words of the page say: the proof is named, and when alpha is
// back it is a member, and the service stays.
func (r *reader) end(ctx context.Context, s *stage.Stage) {
	r.t.Helper()
	alpha, beta := s.Nodes[0], s.Nodes[1]
	out, err := beta.Holdfast(ctx, "explain", "orders")
	if err != nil || !strings.Contains(out, "alpha") || !regexp.MustCompile(`E[0-9]`).MatchString(out) {
		r.t.Errorf("explain orders names no proof: %v\n%s", err, out)
	}
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := alpha.Status(within); err != nil { // it was reset, and its firmware boots it
		if err := alpha.Boot(within); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := s.AwaitMembers(within, s.Nodes...); err != nil {
		r.t.Fatal(err)
	}
	if err := r.runsOn(within, "beta"); err != nil {
		r.t.Error(err)
	}
}
