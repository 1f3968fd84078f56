package bmctest

import (
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-ha/holdfast/bmc"
)

// maxSessions is how many sessions a fake controller keeps at a time. Real ones
// have small limits too, and a fencer that leaks sessions locks itself out.
const maxSessions = 3

// Redfish is a Redfish service over TLS with one or more systems, all of one
// name and with the ids 1, 2 and so on, each for one machine. The resources are
// those that the schema of Redfish demands and that a client needs to switch.
type Redfish struct {
	Host        string // the address that it serves on
	Port        int
	Fingerprint string // of the certificate, sha256:HEX
	CA          string // a file with the certificate, in PEM form; empty without a test

	machines []*Machine
	server   *httptest.Server

	mu        sync.Mutex // guards what follows
	sessions  []string   // tokens of open sessions
	opened    int        // how often the service was entered
	elsewhere string     // where requests are redirected to, if not empty
}

// NewRedfish serves the controller of the machines until the test ends.
func NewRedfish(t testing.TB, machines ...*Machine) *Redfish {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return NewRedfishOn(t, l, machines...)
}

// NewRedfishOn is NewRedfish on a listener, which it closes: for machines that
// live in networks of their own.
func NewRedfishOn(t testing.TB, l net.Listener, machines ...*Machine) *Redfish {
	t.Helper()
	r := ServeRedfish(l, machines...)
	// Requests that hang end with their machine, which is made before and ended
	// after the service.
	t.Cleanup(r.Close)
	r.CA = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(r.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// ServeRedfish is NewRedfishOn without a test, and without the file CA: clients
// pin the certificate by its fingerprint. The caller closes the service.
func ServeRedfish(l net.Listener, machines ...*Machine) *Redfish {
	r := &Redfish{machines: machines}
	s := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	_ = s.Listener.Close() // its own, which is not used
	s.Listener = l
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that are broken off
	s.StartTLS()
	at := s.Listener.Addr().(*net.TCPAddr)
	r.server, r.Host, r.Port = s, at.IP.String(), at.Port
	r.Fingerprint = fmt.Sprintf("sha256:%x", sha256.Sum256(s.Certificate().Raw))
	return r
}

// Close ends the service and every connection to it: nobody reaches it any more.
func (r *Redfish) Close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// Reference gives the reference of the controller, pinned by its fingerprint;
// more options are added as they are.
func (r *Redfish) Reference(t testing.TB, system string, options ...string) bmc.Reference {
	t.Helper()
	return parse(t, r.URL(system, options...))
}

// URL is the text of Reference, as node.yaml has it.
func (r *Redfish) URL(system string, options ...string) string {
	text := fmt.Sprintf("redfish://%s@%s", User, net.JoinHostPort(r.Host, strconv.Itoa(r.Port)))
	if system != "" {
		text += "/Systems/" + system
	}
	return text + "?" + strings.Join(append([]string{"fingerprint=" + r.Fingerprint}, options...), "&")
}

// Sessions counts the sessions that are open now.
func (r *Redfish) Sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// Redirect makes the controller answer every request with a redirect.
func (r *Redfish) Redirect(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.elsewhere = to
}

func parse(t testing.TB, text string) bmc.Reference {
	t.Helper()
	ref, err := bmc.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

const (
	root    = "/redfish/v1"
	logins  = root + "/SessionService/Sessions"
	systems = root + "/Systems"
)

type object map[string]any

func (r *Redfish) serve(w http.ResponseWriter, q *http.Request) {
	path := strings.TrimSuffix(q.URL.Path, "/")
	if r.machines[0].silent() {
		if r.machines[0].is(Hanging) {
			select {
			case <-q.Context().Done():
			case <-r.machines[0].end:
			}
		}
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	if to := r.redirect(); to != "" {
		http.Redirect(w, q, to+q.URL.Path, http.StatusTemporaryRedirect)
		return
	}
	switch {
	case path == root:
		r.enter()
		reply(w, http.StatusOK, object{
			"@odata.id": root, "Id": "RootService", "Name": "Root Service", "RedfishVersion": "1.15.0",
			"Systems": object{"@odata.id": systems}, "Links": object{"Sessions": object{"@odata.id": logins}},
		})
	case path == logins && q.Method == http.MethodPost:
		r.login(w, q)
	case !r.allowed(q):
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasPrefix(path, logins+"/") && q.Method == http.MethodDelete:
		r.logout(strings.TrimPrefix(path, logins+"/"))
		w.WriteHeader(http.StatusNoContent)
	case path == systems:
		var members []object
		for i := range r.machines {
			members = append(members, object{"@odata.id": systems + "/" + strconv.Itoa(i+1)})
		}
		reply(w, http.StatusOK, object{"@odata.id": systems, "Name": "Computer System Collection", "Members": members, "Members@odata.count": len(members)})
	default:
		r.system(w, q, strings.TrimPrefix(path, systems+"/"))
	}
}

func reply(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// system answers for one system: its description, or the action Reset.
func (r *Redfish) system(w http.ResponseWriter, q *http.Request, path string) {
	id, action, _ := strings.Cut(path, "/")
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > len(r.machines) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	m := r.machines[n-1]
	const reset = "Actions/ComputerSystem.Reset"
	if action == reset && q.Method == http.MethodPost {
		var body struct{ ResetType string }
		_ = json.NewDecoder(q.Body).Decode(&body)
		if body.ResetType != "ForceOff" && body.ResetType != "On" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !m.command(body.ResetType == "On") {
			reply(w, http.StatusForbidden, object{"error": object{"code": "Base.1.0.InsufficientPrivilege", "message": "no privilege for this operation, " + Password}})
			return
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body := object{
		"@odata.id": systems + "/" + id, "Id": id, "Name": "System", "HostName": "node" + id, "PowerState": m.status(r.session()),
		"Actions": object{"#ComputerSystem.Reset": object{"target": systems + "/" + id + "/" + reset, "ResetType@Redfish.AllowableValues": []string{"On", "ForceOff"}}},
	}
	if guid, named := m.shown(); named {
		body["UUID"] = strings.ToUpper(guid.String())
	}
	reply(w, http.StatusOK, body)
}

func (r *Redfish) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened++
}

func (r *Redfish) session() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened
}

func (r *Redfish) redirect() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.elsewhere
}

func (r *Redfish) login(w http.ResponseWriter, q *http.Request) {
	var body struct{ UserName, Password string }
	_ = json.NewDecoder(q.Body).Decode(&body)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case body.UserName != User || body.Password != Password:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case len(r.sessions) >= maxSessions:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	token := "token" + strconv.Itoa(r.opened)
	r.sessions = append(r.sessions, token)
	w.Header().Set("X-Auth-Token", token)
	w.Header().Set("Location", logins+"/"+token)
	reply(w, http.StatusCreated, object{"Id": token})
}

func (r *Redfish) logout(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = slices.DeleteFunc(r.sessions, func(s string) bool { return s == token })
}

func (r *Redfish) allowed(q *http.Request) bool {
	user, password, _ := q.BasicAuth()
	if user == User && password == Password {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	token := q.Header.Get("X-Auth-Token")
	return token != "" && slices.Contains(r.sessions, token)
}
