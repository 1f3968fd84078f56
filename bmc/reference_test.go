package bmc_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
)

var pin = "sha256:" + strings.Repeat("0a", 32)

func TestParse(t *testing.T) {
	for text, want := range map[string]bmc.Reference{
		"redfish://admin@10.0.0.11":           {Way: "redfish", User: "admin", Host: "10.0.0.11"},
		"redfish://admin@10.0.0.11/Systems/1": {Way: "redfish", User: "admin", Host: "10.0.0.11", System: "1"},
		"redfish://admin@bmc-1.example.org:8443/redfish/v1/Systems/System.Embedded.1/?fingerprint=" + pin: {
			Way: "redfish", User: "admin", Host: "bmc-1.example.org", Port: 8443, System: "System.Embedded.1", Options: map[string]string{"fingerprint": pin},
		},
		"redfish+http://admin@127.0.0.1:80": {Way: "redfish+http", User: "admin", Host: "127.0.0.1", Port: 80},
		"ipmi://ADMIN@[fe80::1]:623":        {Way: "ipmi", User: "ADMIN", Host: "fe80::1", Port: 623},
		"ipmi://ADMIN@[fe80::1%eth0]":       {Way: "ipmi", User: "ADMIN", Host: "fe80::1%eth0"},
		"ipmi://ADMIN@[fe80::1%25eth0]:624?driver=go&cipher=17": {
			Way: "ipmi", User: "ADMIN", Host: "fe80::1%eth0", Port: 624, Options: map[string]string{"driver": "go", "cipher": "17"},
		},
		"agent:fence_vmware_rest": {Way: "agent", Agent: "fence_vmware_rest"},
		"agent:/opt/x/fence_own?plug=node+1&ip=10.0.0.9&ssl_insecure=1": {
			Way: "agent", Agent: "/opt/x/fence_own", Options: map[string]string{"plug": "node 1", "ip": "10.0.0.9", "ssl_insecure": "1"},
		},
	} {
		got, err := bmc.Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", text, got, err, want)
			continue
		}
		if again, err := bmc.Parse(got.String()); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s printed as %s: %+v, %v", text, got, again, err)
		}
	}
}

func TestParseRefused(t *testing.T) {
	for text, word := range map[string]string{
		"":                                 "neither",
		"telnet://admin@h":                 "neither",
		"redfish://h":                      "has no user",
		"redfish://admin@":                 "has no host",
		"redfish://admin:hunter22@h":       "holds a password",
		"redfish://admin@h/Chassis/1":      "/Systems/ID",
		"redfish://admin@h/Systems/1/Bios": "/Systems/ID",
		"redfish://admin@h?tls=of":         "option tls",
		"redfish://admin@h?ca=ca.pem":      "option ca",
		"redfish://admin@h?fingerprint=ab": "option fingerprint",
		"redfish://admin@h?tls=insecure&fingerprint=" + pin: "leave the others out",
		"redfish://admin@h?tls=insecure&ca=/ca.pem":         "contradict",
		"redfish://admin@h?colour=red":                      `unknown option "colour"`,
		"redfish://admin@h?auth=basic&auth=session":         "2 times",
		"redfish://admin@h#x":                               "behind #",
		"redfish+http://admin@h?tls=verify":                 "unknown option",
		"ipmi://admin@fe80::1":                              "brackets",
		"ipmi://admin@-oProxy":                              "neither a name nor an address",
		"ipmi://-oadmin@h":                                  "begins with a hyphen",
		"ipmi://admin@h:0":                                  "port",
		"ipmi://admin@h:99999":                              "port",
		"ipmi://admin@h/Systems/1":                          "one machine per address",
		"ipmi://admin@h?cipher=0":                           "option cipher",
		"ipmi://admin@h\n":                                  "control character",
		"agent:":                                            "fence_NAME",
		"agent:../fence_x":                                  "neither a name nor an absolute path",
		"agent:/usr/sbin/../bin/fence_x":                    "neither a name nor an absolute path",
		"agent:reboot":                                      "fence_NAME",
		"agent:fence_scsi":                                  "not power",
		"agent:fence_sbd":                                   "a message",
		"agent:fence_dummy":                                 "an assumption",
		"agent:fence_kdump":                                 "an assumption",
		"agent:fence_azure_arm?network-fencing=1":           "blocked network",
		"agent:fence_x?action=on":                           "set by the one who calls",
		"agent:fence_x?passwd=hunter22":                     "holds a secret",
		"agent:fence_x?missing-as-off=1":                    "not found",
		"agent:fence_x?debug-file=/tmp/x":                   "write passwords",
		"agent:fence_x?plug=a%0aaction=on":                  "line break",
		"agent:fence_x?a%20b=c":                             "letters, digits",
	} {
		r, err := bmc.Parse(text)
		if err == nil {
			t.Errorf("%q was taken for %+v", text, r)
			continue
		}
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v\nshould speak of %q", text, err, word)
		}
		if strings.Contains(err.Error(), "hunter22") {
			t.Errorf("the error quotes the password: %v", err)
		}
	}
}

// TestRefusalsHoldNoPassword: wherever somebody wrote it, and however wrong the
// rest is, a password is not repeated.
func TestRefusalsHoldNoPassword(t *testing.T) {
	const secret = "hunter22"
	for _, text := range []string{
		"agent:fence_x?password=" + secret, "agent:fence_x?passwd=" + secret + "&passwd=" + secret, "agent:fence_x?community=" + secret,
		"agent:fence_x?secret-key=" + secret, "agent:fence_x?password=%zz" + secret, "agent:fence_x?password=a;" + secret,
		"agent:fence_x --password=" + secret, "agent:fence_x?a%20" + secret + "=1", "agent:fence_x?Z9" + secret + "=1&Z9" + secret + "=2&action=1",
		"agent:fence_scsi?password=" + secret, "agent:fence_x?plug=" + secret + "%0a", "agent:fence_x?plug=" + secret + "\n",
		"ipmi://admin:" + secret + "@h", "ipmi://admin:a@" + secret + "@h", "ipmi://admin:a/" + secret + "@h", "ipmi://admin:" + secret + "/@h",
		"ipmi://admin:a?" + secret + "@h", "ipmi://admin:a#" + secret + "@h", "ipmi://admin:" + secret, "ipmi://admin:%" + secret + "@h",
		"redfish://admin@h?password=" + secret, "redfish://admin@h?Z9" + secret + "=1", "redfish://admin@h:" + secret, "redfish://admin@h/" + secret,
		"admin:" + secret + "@h", secret, "telnet://admin:" + secret + "@h", "redfish://admin@h#" + secret, secret + "://admin@h",
	} {
		r, err := bmc.Parse(text)
		if err == nil {
			t.Errorf("%q was taken for %+v", text, r)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the password is repeated: %v", text, err)
		}
	}
}

// TestSecretPlaces: what names a file is not told to the agent, and a message
// holds none of the options that may be secret in some agent.
func TestSecretPlaces(t *testing.T) {
	left, places := bmc.SecretPlaces(map[string]string{"community_file": "/a", "secret-key_file": "/b", "token_file": "/c", "plug": "7"})
	if !reflect.DeepEqual(left, map[string]string{"token_file": "/c", "plug": "7"}) || !reflect.DeepEqual(places, map[string]string{"community": "/a", "secret_key": "/b"}) {
		t.Errorf("%v, %v", left, places)
	}
	r, err := bmc.Parse("agent:fence_x?plug=7&login_token=hunter22")
	if err != nil || r.Title() != "agent:fence_x?plug=7" {
		t.Errorf("%s, %v", r.Title(), err)
	}
}

// FuzzParse: what is accepted prints as something that means the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"redfish://admin@10.0.0.11/Systems/1?tls=verify", "ipmi://a%40b@[fe80::1%25eth0]:623?driver=go", "agent:fence_x?plug=a%26b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := bmc.Parse(text)
		if err != nil {
			return
		}
		again, err := bmc.Parse(r.String())
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%q is %+v, printed as %q is %+v, %v", text, r, r.String(), again, err)
		}
	})
}
