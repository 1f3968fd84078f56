package ctl_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/api"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/quorumdisk"
	"github.com/holdfast-ha/holdfast/quorumdisk/volume"
	"github.com/holdfast-ha/holdfast/storage"
)

// joinService plays the node that gave the token: it leaves nonces on the real
// disks of alpha, and looks there for those of the new node.
type joinService struct {
	t     *testing.T
	node  *config.Node
	keys  quorumdisk.Keys
	key   string // the key file's text that it offers
	token api.Token
	names []string        // names that are taken
	done  []api.JoinProof // what was proved
}

func newJoinService(t *testing.T, s *site) *joinService {
	t.Helper()
	text, err := os.ReadFile(s.yaml("alpha"))
	if err != nil {
		t.Fatal(err)
	}
	j := &joinService{t: t, names: []string{"alpha"}}
	if j.node, err = config.ParseNode("node.yaml", text); err != nil {
		t.Fatal(err)
	}
	if j.keys, err = quorumdisk.LoadKeys(j.node.Key); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(j.node.Key)
	if err != nil {
		t.Fatal(err)
	}
	j.key = string(key)
	server := httptest.NewUnstartedServer(j)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that refuses the certificate
	server.StartTLS()
	t.Cleanup(server.Close)
	j.token = api.Token{
		Secret: [16]byte{1, 2, 3}, Fingerprint: sha256.Sum256(server.Certificate().Raw),
		Addresses: []netip.AddrPort{netip.MustParseAddrPort(server.Listener.Addr().String())},
	}
	return j
}

func (j *joinService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var v any
	var err error
	switch r.URL.Path {
	case "/join":
		return
	case "/join/begin":
		v, err = j.begin(r.Body)
	case "/join/finish":
		v, err = j.finish(r.Body)
	}
	if err != nil {
		e := api.Errorf(api.CodeRefused, "%v", err)
		w.WriteHeader(e.Status)
		v = e
	}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		j.t.Error(err)
	}
}

func (j *joinService) begin(body io.Reader) (any, error) {
	var r api.JoinRequest
	if err := json.NewDecoder(body).Decode(&r); err != nil {
		return nil, err
	}
	for _, n := range j.names {
		if n == r.Name {
			return nil, api.Errorf(api.CodeRefused, "node %s is in the cluster already: give this one another --name, or holdfast node remove %s", n, n)
		}
	}
	if want := hex.EncodeToString(j.token.Secret[:]); r.Secret != want {
		j.t.Errorf("secret %s, want %s", r.Secret, want)
	}
	o := &api.JoinOffer{
		Version: api.JoinVersion, Session: "s1", Cluster: api.JoinRef{Name: j.node.Cluster.Name, ID: j.node.Cluster.ID.String()},
		Key: j.key, ID: 2, Server: 1, Sector: 512, Nmax: 16, Peers: []api.JoinPeer{{ID: 1, Name: "alpha", Links: []string{"a", "b"}}},
	}
	for i, d := range j.node.Disks {
		nonce := [32]byte{7, byte(i)}
		j.on(d, func(v *volume.Volume) error { return v.WriteProbe(1, nonce, time.Second) })
		o.Disks = append(o.Disks, api.JoinDisk{ID: d.UUID.String(), Path: d.Path, Nonce: hex.EncodeToString(nonce[:])})
	}
	return o, nil
}

func (j *joinService) finish(body io.Reader) (any, error) {
	var p api.JoinProof
	if err := json.NewDecoder(body).Decode(&p); err != nil {
		return nil, err
	}
	for _, d := range j.node.Disks {
		want, err := hex.DecodeString(p.Nonces[d.UUID.String()])
		if err != nil {
			return nil, err
		}
		j.on(d, func(v *volume.Volume) error {
			if have, ok, err := v.ReadProbe(2, time.Second); err != nil || !ok || !bytes.Equal(have[:], want) {
				j.t.Errorf("disk %v: the new node's number is not there: %v, %v", d.UUID, ok, err)
			}
			return nil
		})
	}
	j.done = append(j.done, p)
	return &api.JoinDone{ID: 2, State: 2}, nil
}

func (j *joinService) on(d config.QuorumDisk, do func(*volume.Volume) error) {
	disk, err := storage.Open(d.Path, storage.Options{Sync: true, SectorSize: 512})
	if err != nil {
		j.t.Error(err)
		return
	}
	defer disk.Close()
	v, err := volume.Open(disk, j.keys, volume.Expect{Disk: d.UUID}, time.Second)
	if err == nil {
		err = do(v)
	}
	if err != nil {
		j.t.Error(err)
	}
}

// join runs the join of beta.
func (s *site) join(token string, more ...string) result {
	return holdfast("", append([]string{"join", token}, s.node("beta", more...)...)...)
}

func TestJoin(t *testing.T) {
	t.Parallel()
	for name, disks := range map[string]func(s *site) []string{
		"same paths": func(*site) []string { return nil },
		"other names": func(s *site) []string {
			return []string{"--disk", link(s, "c"), "--disk", link(s, "a"), "--disk", link(s, "b")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.init("--sector-size", "512", "--disk", s.disk("a", 70), "--disk", s.disk("b", 70), "--disk", s.disk("c", 70)).says(t, 0)
			j := newJoinService(t, s)
			s.join(j.token.String(), disks(s)...).says(t, 0, "node beta joined cluster holdfast", "as node 2", "both nodes see the same disk", "failover_within 20 s")
			if len(j.done) != 1 || len(j.done[0].Nonces) != 3 || j.done[0].Session != "s1" {
				t.Errorf("proved: %+v", j.done)
			}
			text, err := os.ReadFile(s.yaml("beta"))
			if err != nil {
				t.Fatal(err)
			}
			n, err := config.ParseNode("node.yaml", text)
			if err != nil {
				t.Fatal(err)
			}
			if n.ID != 2 || n.Name != "beta" || n.Cluster != j.node.Cluster || n.Disks[0].UUID != j.node.Disks[0].UUID || n.Disks[2].UUID != j.node.Disks[2].UUID {
				t.Errorf("node.yaml:\n%s", text)
			}
			if keys, err := quorumdisk.LoadKeys(n.Key); err != nil || keys != j.keys {
				t.Errorf("the key: %v", err)
			}
			holdfast("", "--config", s.yaml("beta"), "disk", "verify").says(t, 0)
			if left, _ := filepath.Glob(filepath.Join(s.etc("beta"), "*.new")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
			s.join(j.token.String()).says(t, 1, "is there already")
		})
	}
}

// link gives a disk another name.
func link(s *site, name string) string {
	other := filepath.Join(s.dir, "by-id-"+name)
	if err := os.Symlink(filepath.Join(s.dir, name), other); err != nil {
		s.t.Fatal(err)
	}
	return other
}

func TestJoinRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *site, j *joinService) (flags []string)
		says   []string
	}{
		"name twice": {
			func(_ *site, j *joinService) []string { j.names = append(j.names, "beta"); return nil },
			[]string{"node beta is in the cluster already", "--name"},
		},
		"another disk": {
			func(s *site, _ *joinService) []string { return []string{"--disk", otherCluster(s)} },
			[]string{"none of the given disks is quorum disk", "must see the same disks", "--disk"},
		},
		"no quorum disk": {
			func(s *site, _ *joinService) []string { return []string{"--disk", s.disk("empty", 70)} },
			[]string{"empty", "not a Holdfast quorum disk"},
		},
		"a clone": {func(s *site, _ *joinService) []string {
			copyFile(s.t, filepath.Join(s.dir, "q"), filepath.Join(s.dir, "clone"))
			return []string{"--disk", filepath.Join(s.dir, "clone")}
		}, []string{"clone", "not the device that was formatted"}},
		"wrong key": {
			func(_ *site, j *joinService) []string { j.key = strings.Repeat("ab", 32) + "\n"; return nil },
			[]string{"sealed with another cluster key"},
		},
		"another certificate": {
			func(_ *site, j *joinService) []string { j.token.Fingerprint[0]++; return nil },
			[]string{"another certificate than the token names"},
		},
		"fewer links": {
			func(*site, *joinService) []string { return []string{"--link", "127.0.2.1:7001"} },
			[]string{"node alpha has 2 links, this one 3"},
		},
		"a cut-off token": {nil, []string{"not a join token", "copy it again"}},
		"hardware that cannot keep the promise": {
			func(*site, *joinService) []string { return []string{"--pause-bound", "15s"} },
			[]string{"cannot keep what the cluster promises", "failover_within 20 s is refused"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			q := s.disk("q", 70)
			s.init("--sector-size", "512", "--disk", q).says(t, 0)
			j := newJoinService(t, s)
			var flags []string
			if c.change != nil {
				flags = c.change(s, j)
			}
			token := j.token.String()
			if c.change == nil {
				token = token[:len(token)-3]
			}
			s.join(token, flags...).says(t, 1, c.says...)
			if len(j.done) > 0 {
				t.Error("the node was entered all the same")
			}
			nothingIn(t, s.etc("beta"))
			j.on(j.node.Disks[0], func(v *volume.Volume) error {
				if _, ok, err := v.ReadProbe(ident.NodeID(2), time.Second); ok || err != nil {
					t.Errorf("a refused join wrote to the quorum disk: %v", err)
				}
				return nil
			})
		})
	}
}

// otherCluster makes the quorum disk of a cluster of its own.
func otherCluster(s *site) string {
	other := newSite(s.t)
	disk := other.disk("other", 70)
	other.init("--disk", disk).says(s.t, 0)
	return disk
}

// TestJoinOtherDisk: a disk that carries the right superblock but not what the
// other node has just written is a mirror or a snapshot.
func TestJoinOtherDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	q := s.disk("q", 70)
	s.init("--sector-size", "512", "--disk", q).says(t, 0)
	j := newJoinService(t, s)
	// A copy that was adopted under its own identity passes every check but this.
	clone := filepath.Join(s.dir, "clone")
	copyFile(t, q, clone)
	s.at("", "disk", "adopt-clone", "--yes", clone).says(t, 0)
	s.join(j.token.String(), "--disk", clone).says(t, 1, "is not the disk that the other node calls", "a copy, a mirror or a snapshot")
	nothingIn(t, s.etc("beta"))
}
