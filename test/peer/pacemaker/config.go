package pacemaker

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/test/demo/controllers"
	"github.com/holdfast-ha/holdfast/test/demo/stage"
	"github.com/holdfast-ha/holdfast/test/peer/contender"
)

// Place is where a cluster is put up.
type Place struct {
	Names []string // of the machines, the service's own first
	// Network is how all addresses begin: machine n, counted from 1, has NETWORK.0.n and
	// NETWORK.1.n on the two links.
	Network       string
	Address, Card string // of the service
	Quorum        string // path of the quorum disk
}

// Files are the files that every machine has, by their path from its root. Those below
// var/lib/pacemaker belong to the user hacluster and the group haclient.
func (s Setting) Files(p Place, fence string) map[string]string {
	hosts := "127.0.0.1 localhost\n"
	for i, name := range p.Names {
		hosts += fmt.Sprintf("%s.0.%d %s\n", p.Network, i+1, name)
	}
	files := map[string]string{
		"etc/hosts":                     hosts,
		"etc/corosync/corosync.conf":    corosync(p, s.Token),
		"etc/default/pacemaker":         "PCMK_logpriority=notice\nPCMK_logfile=/var/log/pacemaker/pacemaker.log\n",
		"var/lib/pacemaker/cib/cib.xml": cib(p, fence),
		"var/lib/pacemaker/cib/.keep":   "",
		"var/log/corosync/.keep":        "",
	}
	if !s.BMC {
		files["etc/default/sbd"] = sbd(p.Quorum, s.Watchdog)
		files["etc/systemd/system/pacemaker.service.d/sbd.conf"] = "[Unit]\nRequires=sbd.service\nAfter=sbd.service\n"
	}
	return files
}

// Marking is the command that prepares the quorum disk for sbd.
func (s Setting) Marking(p Place) []string {
	watchdog := int(s.Watchdog / time.Second)
	return []string{"/usr/sbin/sbd", "-d", p.Quorum, "-1", strconv.Itoa(watchdog), "-4", strconv.Itoa(2 * watchdog), "create"}
}

// SBDFence is the fence device by messages on the quorum disk.
func SBDFence(p Place) string {
	return primitive("fence", `class="stonith" type="external/sbd"`, map[string]string{"sbd_device": p.Quorum}, "3600s")
}

// corosync is corosync.conf(5) for two machines with two links each.
func corosync(p Place, token time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "totem {\n  version: 2\n  cluster_name: peer\n  transport: knet\n  token: %d\n  crypto_cipher: none\n  crypto_hash: none\n}\n", token.Milliseconds())
	b.WriteString("logging {\n  to_logfile: yes\n  logfile: /var/log/corosync/corosync.log\n  to_syslog: no\n  timestamp: hires\n}\n")
	b.WriteString("quorum {\n  provider: corosync_votequorum\n  expected_votes: 2\n  two_node: 1\n  wait_for_all: 0\n}\nnodelist {\n")
	for i, name := range p.Names {
		fmt.Fprintf(&b, "  node {\n    name: %s\n    nodeid: %d\n    ring0_addr: %s.0.%[2]d\n    ring1_addr: %[3]s.1.%[2]d\n  }\n", name, i+1, p.Network)
	}
	b.WriteString("}\n")
	return b.String()
}

// sbd is what the unit sbd.service reads.
func sbd(disk string, watchdog time.Duration) string {
	return fmt.Sprintf("SBD_DEVICE=%q\nSBD_PACEMAKER=yes\nSBD_STARTMODE=always\nSBD_DELAY_START=no\nSBD_WATCHDOG_DEV=/dev/watchdog\n"+
		"SBD_WATCHDOG_TIMEOUT=%d\nSBD_TIMEOUT_ACTION=flush,reboot\nSBD_MOVE_TO_ROOT_CGROUP=no\nSBD_SYNC_RESOURCE_STARTUP=no\nSBD_OPTS=\n",
		disk, int(watchdog/time.Second))
}

// fencing is the XML of the fence devices.
func (c *Cluster) fencing(s *stage.Stage) (string, error) {
	if !c.BMC {
		return SBDFence(place(s)), nil
	}
	if c.bmcs == nil {
		c.bmcs = &controllers.Set{}
	}
	text, err := c.bmcs.Install(s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		_, quoted, _ := strings.Cut(rest, `"`)
		reference, _, _ := strings.Cut(quoted, `"`)
		u, err := url.Parse(reference)
		if err != nil {
			return "", err
		}
		b.WriteString(primitive("fence-"+name, `class="stonith" type="fence_redfish"`, map[string]string{
			"ip": u.Hostname(), "ipport": u.Port(), "username": bmctest.User, "password": bmctest.Password, "ssl_insecure": "1",
			"redfish_uri": "/redfish/v1", "systems_uri": "/redfish/v1/Systems/1", "pcmk_host_list": name,
		}, "3600s"))
	}
	return b.String(), nil
}

// primitive is one resource of the CIB.
func primitive(id, kind string, values map[string]string, every string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<primitive id="%s" %s><instance_attributes id="%[1]s-attributes">`, id, kind)
	for name, value := range values {
		fmt.Fprintf(&b, `<nvpair id="%s-%s" name="%[2]s" value="%s"/>`, id, name, value)
	}
	fmt.Fprintf(&b, `</instance_attributes><operations><op id="%s-monitor" name="monitor" interval="%s" timeout="20s"/></operations></primitive>`+"\n", id, every)
	return b.String()
}

// cib is the cluster's information base: the service, an address on a dummy, that
// prefers the first machine and stays where it is, and the fence devices.
func cib(p Place, fence string) string {
	var b strings.Builder
	b.WriteString(`<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="1"><configuration>
<crm_config><cluster_property_set id="options">
<nvpair id="options-fencing" name="stonith-enabled" value="true"/>
<nvpair id="options-quorum" name="no-quorum-policy" value="stop"/>
<nvpair id="options-start" name="dc-deadtime" value="3s"/>
</cluster_property_set></crm_config><nodes>`)
	for i, name := range p.Names {
		fmt.Fprintf(&b, `<node id="%d" uname="%s"/>`, i+1, name)
	}
	b.WriteString("</nodes><resources>\n" + fence)
	b.WriteString(primitive("service", `class="ocf" provider="heartbeat" type="Dummy"`, map[string]string{"state": contender.StateFile}, "10s"))
	b.WriteString(primitive("address", `class="ocf" provider="heartbeat" type="IPaddr2"`, map[string]string{"ip": p.Address, "cidr_netmask": "24", "nic": p.Card}, "10s"))
	b.WriteString(`</resources><constraints>
<rsc_location id="prefer" rsc="service" node="` + p.Names[0] + `" score="50"/>
<rsc_colocation id="together" rsc="address" with-rsc="service" score="INFINITY"/>
<rsc_order id="order" first="service" then="address"/>
</constraints><rsc_defaults><meta_attributes id="defaults"><nvpair id="sticky" name="resource-stickiness" value="100"/></meta_attributes></rsc_defaults>
</configuration><status/></cib>
`)
	return b.String()
}
