package drivers_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/bmc/bmctest"
	"github.com/holdfast-ha/holdfast/bmc/drivers"
)

var login = bmc.Options{Password: bmc.NewSecret(bmctest.Password)}

// TestSeveralSystems: behind one controller, the machine with the right id is
// switched and no other, though all have one name; without an id nothing is.
func TestSeveralSystems(t *testing.T) {
	one, two := bmctest.NewMachine(t, bmctest.Honest), bmctest.NewMachine(t, bmctest.Honest)
	two.GUID[0] ^= 0xff
	r := bmctest.NewRedfish(t, one, two)
	s := open(t, r.Reference(t, "2"), login)
	if err := s.Off(t.Context()); err != nil || two.IsOn() || !one.IsOn() {
		t.Fatalf("%v; on: %v, %v", err, one.IsOn(), two.IsOn())
	}
	if got := s.State(t.Context()); got.State != bmc.Off || !got.Identity.GUID.Same(two.GUID) || !strings.Contains(got.Identity.Name, "2 node2") {
		t.Errorf("%+v", got)
	}
	if got := open(t, r.Reference(t, "1"), login).State(t.Context()); got.State != bmc.On || !got.Identity.GUID.Same(one.GUID) {
		t.Errorf("%+v", got)
	}
	for system, word := range map[string]string{"": "several systems (1, 2)", "3": `no system "3", but 1, 2`} {
		s := open(t, r.Reference(t, system), login)
		if got := s.State(t.Context()); got.State != bmc.Unknown || !strings.Contains(got.Text, word) {
			t.Errorf("system %q: %+v", system, got)
		}
		if err := s.Off(t.Context()); err == nil || !one.IsOn() {
			t.Errorf("system %q: switched off, %v", system, err)
		}
	}
}

// TestRedfishIPv6: an address with colons, in brackets, is one as any other.
func TestRedfishIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6 loopback (sysctl net.ipv6.conf.lo.disable_ipv6=0 gives it one): %v", err)
	}
	m := bmctest.NewMachine(t, bmctest.Honest)
	r := bmctest.NewRedfishOn(t, l, m)
	s := open(t, r.Reference(t, "1"), login)
	if got := s.State(t.Context()); got.State != bmc.On || !got.Identity.GUID.Same(m.GUID) {
		t.Errorf("%+v", got)
	}
	if err := s.Off(t.Context()); err != nil || m.IsOn() {
		t.Errorf("%v; on: %v", err, m.IsOn())
	}
	if got := s.State(t.Context()); got.State != bmc.Off {
		t.Errorf("%+v", got)
	}
}

// TestRedfishTLS: who is believed to be the controller.
func TestRedfishTLS(t *testing.T) {
	r := bmctest.NewRedfish(t, bmctest.NewMachine(t, bmctest.Honest))
	for options, word := range map[string]string{
		"ca=" + r.CA:                           "",
		"fingerprint=" + r.Fingerprint:         "",
		"tls=insecure":                         "",
		"tls=verify":                           "add ?fingerprint=" + r.Fingerprint,
		"":                                     "add ?fingerprint=" + r.Fingerprint,
		"fingerprint=" + "sha256:" + zeros(64): "pinned is another one",
	} {
		s := open(t, parse(t, fmt.Sprintf("redfish://%s@127.0.0.1:%d?%s", bmctest.User, r.Port, options)), login)
		got := s.State(t.Context())
		if word == "" && got.State != bmc.On || word != "" && (got.State != bmc.Unknown || !strings.Contains(got.Text, word)) {
			t.Errorf("%q: %+v", options, got)
		}
	}
	for _, ca := range []string{"/nonexistent/ca.pem", "/dev/null"} {
		if _, err := drivers.Open(parse(t, "redfish://admin@h?ca="+ca), login); err == nil {
			t.Errorf("authorities from %s", ca)
		}
	}
}

func zeros(n int) string { return strings.Repeat("0", n) }

// TestSessionsAreClosed: with logins, no session is left over, whatever became
// of the call; the fake has room for three.
func TestSessionsAreClosed(t *testing.T) {
	for _, f := range []bmctest.Fault{bmctest.Honest, bmctest.Refusing, bmctest.Garbage} {
		r := bmctest.NewRedfish(t, bmctest.NewMachine(t, f))
		s := open(t, r.Reference(t, "", "auth=session"), login)
		for range 5 {
			_ = s.State(t.Context())
			_ = s.Off(t.Context())
		}
		if n := r.Sessions(); n != 0 {
			t.Errorf("fault %d: %d sessions are still open", f, n)
		}
	}
}

// TestRedirect: a controller that sends its client elsewhere is not followed,
// and the other place learns nothing.
func TestRedirect(t *testing.T) {
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	r := bmctest.NewRedfish(t, bmctest.NewMachine(t, bmctest.Honest))
	r.Redirect(elsewhere.URL)
	if got := open(t, r.Reference(t, ""), login).State(t.Context()); got.State != bmc.Unknown || !strings.Contains(got.Text, "redirects to http://") {
		t.Errorf("%+v", got)
	}
	if asked {
		t.Error("the redirect was followed")
	}
}

// TestActionOfAnotherSystem: a controller whose system names another system's
// action as its own does not get the request.
func TestActionOfAnotherSystem(t *testing.T) {
	posted := ""
	answers := map[string]string{
		"/redfish/v1":           `{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`,
		"/redfish/v1/Systems":   `{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`,
		"/redfish/v1/Systems/1": `{"Id":"1","PowerState":"On","Actions":{"#ComputerSystem.Reset":{"target":"/redfish/v1/Systems/12/Actions/ComputerSystem.Reset"}}}`,
	}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posted = r.URL.Path
		}
		fmt.Fprint(w, answers[strings.TrimSuffix(r.URL.Path, "/")])
	}))
	defer h.Close()
	s := open(t, parse(t, "redfish+http://admin@"+strings.TrimPrefix(h.URL, "http://")), login)
	if got := s.State(t.Context()); got.State != bmc.On {
		t.Fatalf("%+v", got)
	}
	if err := s.Off(t.Context()); err == nil || posted != "" || !strings.Contains(err.Error(), "no action of that system") {
		t.Errorf("posted to %q: %v", posted, err)
	}
}

// TestNonsense: answers that are no Redfish, or only nearly.
func TestNonsense(t *testing.T) {
	collection := `{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`
	for name, answer := range map[string][3]string{
		"nothing":         {"", "", ""},
		"a web page":      {"<html>", "<html>", "<html>"},
		"no systems":      {`{}`, `{}`, `{}`},
		"empty list":      {`{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, `{"Members":[]}`, `{}`},
		"null":            {`null`, `null`, `null`},
		"no state":        {`{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, collection, `{"Id":"1"}`},
		"state of a list": {`{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, collection, `{"Id":"1","PowerState":["Off"]}`},
		"nearly off":      {`{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, collection, `{"Id":"1","PowerState":"Off-ish"}`},
		"paused":          {`{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, collection, `{"Id":"1","PowerState":"Paused"}`},
		"cut off":         {`{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, collection, `{"Id":"1","PowerState":"Off"`},
		"very long":       {`{"Systems":{"@odata.id":"/redfish/v1/Systems"}}`, collection, `{"Id":"` + zeros(5<<20) + `","PowerState":"Off"}`},
	} {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, answer[len(strings.Split(strings.Trim(r.URL.Path, "/"), "/"))-2])
		}))
		s := open(t, parse(t, "redfish+http://admin@"+strings.TrimPrefix(h.URL, "http://")+"/Systems/1"), login)
		if got := s.State(t.Context()); got.State != bmc.Unknown || got.Text == "" {
			t.Errorf("%s: %+v", name, got)
		}
		h.Close()
	}
}

// TestOpenRefused: what cannot work, or would give a secret away, is refused
// before anything is contacted.
func TestOpenRefused(t *testing.T) {
	t.Setenv("DEBUG_BMCLIB", "true")
	if _, err := drivers.Open(parse(t, "redfish://admin@h"), login); err == nil || !strings.Contains(err.Error(), "DEBUG_BMCLIB") {
		t.Errorf("with DEBUG_BMCLIB: %v", err)
	}
	t.Setenv("DEBUG_BMCLIB", "")
	for text, o := range map[string]bmc.Options{
		"redfish://admin@h":                                           {},
		"ipmi://admin@h?driver=go":                                    {},
		"ipmi://other@h?driver=go":                                    {Password: bmc.NewSecret("longer than twenty bytes")},
		"ipmi://a-name-of-17-byte@h?driver=go":                        login,
		"agent:fence_nobody_has_this?plug=1":                          login,
		"redfish://admin@h/Systems/1?fingerprint=sha256:" + zeros(64): {Password: login.Password, Expect: []bmc.GUID{{}}},
	} {
		if _, err := drivers.Open(parse(t, text), o); err == nil {
			t.Errorf("%s with %+v was opened", text, o)
		}
	}
	if _, err := drivers.Open(bmc.Reference{}, login); err == nil {
		t.Error("a reference to nothing was opened")
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := drivers.Open(parse(t, "ipmi://admin@h"), login); err == nil || !strings.Contains(err.Error(), "install the package ipmitool") {
		t.Errorf("without ipmitool: %v", err)
	}
}
