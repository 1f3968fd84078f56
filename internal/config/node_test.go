package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/config/nodefile"
)

const uuid = "6f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11"

const least = `name: alpha
id: 3
cluster: {name: hospital, id: ` + uuid + `}
quorum_disks: [{path: /dev/disk/by-id/wwn-0x600, uuid: ` + uuid + `}]
key: /etc/holdfast/cluster.key
links: ["10.0.0.11:7320", "[2001:db8::11]:7321"]
`

func TestParseNode(t *testing.T) {
	got, err := config.ParseNode("node.yaml", []byte(least+"watchdogs: [{device: /dev/watchdog0, timeout: 5s}, softdog]\n"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := ident.ParseUUID(uuid)
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Node{
		Name: "alpha", ID: 3, Cluster: config.ClusterRef{Name: "hospital", ID: id},
		Disks: []config.QuorumDisk{{Path: "/dev/disk/by-id/wwn-0x600", UUID: id}},
		Links: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.11:7320"), netip.MustParseAddrPort("[2001:db8::11]:7321")},
		Key:   "/etc/holdfast/cluster.key", Watchdogs: []config.Watchdog{{Device: "/dev/watchdog0", Timeout: 5 * time.Second}, {Device: config.Softdog}},
		Dirs: config.Dirs{Run: "/run/holdfast/alpha", State: "/var/lib/holdfast"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNodeProblems(t *testing.T) {
	change := func(old, new string) string { return strings.Replace(least, old, new, 1) }
	for _, c := range []struct {
		src, words string
		line       int
	}{
		{change("id: 3", "id: 256"), "from 1 to 255", 2},
		{change("id: 3\n", ""), `"id" is missing`, 1},
		{change(uuid, "00000000-0000-0000-0000-000000000000"), "zero identity", 3},
		{change(`, "[2001:db8::11]:7321"`, ""), "single_link: true", 6},
		{change(`10.0.0.11:7320`, "0.0.0.0:7320"), "no address of this node", 6},
		{change(`[2001:db8::11]:7321`, "10.0.0.11:7321"), "another network", 6},
		{least + "single_link: true\n", "there are 2 links", 7},
		{change(`quorum_disks: [`, `quorum_disks: [{path: /dev/b, uuid: 7f1c2f0e-7a53-4d4e-9f43-3f8b1f0a2c11}, `), "one or three", 4},
		{least + "watchdogs: [softdog, softdog]\n", "written twice", 7},
		{least + "watchdogs: [watchdog0]\n", "neither softdog nor the path", 7},
		{least + "watchdogs: [{device: /dev/../dev/watchdog0}]\n", "shortest form", 7},
		{least + "watchdogs: [{device: /dev/watchdog0}]\nplatform: {emulated: true, emulator: /run/p}\n", "a device of this machine", 7},
		{least + "platform: {emulated: true}\n", "no emulator", 7},
		{least + "platform: {emulator: /run/p}\n", "emulated is not true", 7},
		{least + "bmc: {url: \"redfish://u:secret@h\"}\n", "belongs into a file", 7},
		{least + "bmc: {url: \"redfish://u@h\"}\n", "no password_file", 7},
		{least + "metrics: {listen: \"10.0.0.11:9640\"}\n", "no loopback address", 7},
		{least + "metrics: {listen: \"10.0.0.11:9640\", certificate: /c}\n", "belong together", 7},
		{least + "metrics: {listen: \"127.0.0.1:9640\", clients: /c}\n", "add certificate and key", 7},
		{least + "bmc: {url: \"telnet://u@h\"}\n", "telnet", 7},
	} {
		_, err := config.ParseNode("n", []byte(c.src))
		var all config.Problems
		if !errors.As(err, &all) || len(all) != 1 || all[0].Line != c.line || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%q: want one problem on line %d that says %q, got\n%v", c.src, c.line, c.words, err)
		}
	}
}

// What nodefile.Write writes, ParseNode reads back.
func TestNodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := node(t)
		src := nodefile.Write(n)
		got, err := config.ParseNode("node.yaml", src)
		if err != nil {
			t.Fatalf("%s\n%v", src, err)
		}
		if !reflect.DeepEqual(*got, n) {
			t.Fatalf("%s\nread  %+v\nwrote %+v", src, *got, n)
		}
	})
}

func node(t *rapid.T) config.Node {
	name := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,20}`)
	path := rapid.StringMatching(`(/[A-Za-z0-9_:@ #"'äöü-]{1,12}){1,3}`)
	id := rapid.Custom(func(t *rapid.T) ident.UUID {
		var u ident.UUID
		copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
		u[0] |= 1
		return u
	})
	n := config.Node{
		Name: name.Draw(t, "name"), ID: ident.NodeID(rapid.IntRange(1, 255).Draw(t, "id")),
		Cluster: config.ClusterRef{Name: name.Draw(t, "cluster"), ID: id.Draw(t, "cluster id"), Epoch: uint32(rapid.IntRange(0, 65535).Draw(t, "epoch"))},
		Key:     path.Draw(t, "key"), AcceptSoftdog: rapid.Bool().Draw(t, "accept"),
	}
	disks := rapid.SampledFrom([]int{1, 3}).Draw(t, "disks")
	for i := range disks {
		d := config.QuorumDisk{Path: fmt.Sprintf("%s%d", path.Draw(t, "disk"), i), UUID: id.Draw(t, "disk id")}
		d.UUID[1] = byte(i)
		n.Disks = append(n.Disks, d)
	}
	links := rapid.IntRange(1, 4).Draw(t, "links")
	n.SingleLink = links == 1
	for i := range links {
		n.Links = append(n.Links, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), uint16(1+rapid.IntRange(0, 65534).Draw(t, "port"))))
	}
	if rapid.Bool().Draw(t, "emulated") {
		n.Platform.Emulated, n.Platform.Emulator = true, path.Draw(t, "emulator")
	}
	if rapid.Bool().Draw(t, "guest") {
		n.Platform.PauseSet = true
		n.Platform.PauseBound = time.Duration(rapid.IntRange(0, 20000).Draw(t, "pause")) * time.Millisecond
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "dogs") {
		w := config.Watchdog{Device: fmt.Sprintf("/dev/watchdog%d", i)}
		if n.Platform.Emulated {
			w.Device = fmt.Sprintf("dog%d", i)
		} else if i == 2 {
			w.Device = config.Softdog
		}
		w.Timeout = time.Duration(rapid.IntRange(0, 1).Draw(t, "fixed")*rapid.IntRange(1, 60).Draw(t, "timeout")) * time.Second
		n.Watchdogs = append(n.Watchdogs, w)
	}
	if rapid.Bool().Draw(t, "bmc") {
		n.BMC = config.BMC{URL: "redfish://admin@10.0.0.1", PasswordFile: path.Draw(t, "secret")}
	}
	switch rapid.IntRange(0, 3).Draw(t, "metrics") {
	case 3:
		n.Metrics.Clients = path.Draw(t, "clients")
		fallthrough
	case 2:
		n.Metrics.Listen = netip.MustParseAddrPort("[::]:9640")
		n.Metrics.Certificate, n.Metrics.Key = path.Draw(t, "certificate"), path.Draw(t, "certificate's key")
	case 1:
		n.Metrics.Listen = netip.MustParseAddrPort("127.0.0.1:9640")
	}
	n.Dirs = config.Dirs{Run: "/run/holdfast/" + n.Name, State: "/var/lib/holdfast"}
	if rapid.Bool().Draw(t, "dirs") {
		n.Dirs = config.Dirs{Run: path.Draw(t, "run"), State: path.Draw(t, "state"), Cgroup: path.Draw(t, "cgroup")}
	}
	return n
}

func FuzzParseNode(f *testing.F) {
	f.Add([]byte(least))
	f.Add([]byte("watchdogs: [softdog, {device: x}]\nplatform: {emulated: yes}\nlinks: [1]\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		n, err := config.ParseNode("n", src)
		if err != nil {
			judge(t, src, err)
			return
		}
		again, err := config.ParseNode("n", nodefile.Write(*n))
		if err != nil || !reflect.DeepEqual(n, again) {
			t.Fatalf("%+v is written as\n%s\nand read as %+v, %v", n, nodefile.Write(*n), again, err)
		}
	})
}
