package alerts

import (
	"bufio"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
)

func sample() *Alert {
	return &Alert{
		Version: version, Key: "10-alpha:over", Level: Over, Cluster: "hospital", Sender: "beta", Time: time.Unix(1e9, 0).UTC(),
		Title: "over: node alpha was lost, orders was down for 9.5 s – für alle", Text: []string{"The cause: alpha fell silent.", "The proof: E3 time."}, Next: []string{"look at alpha"},
	}
}

func private(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "notify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat >"+dir+"/got; echo \"$HOLDFAST_ALERT_LEVEL $HOLDFAST_CLUSTER\" >"+dir+"/env\n[ ! -e "+dir+"/fail ] || { echo no >&2; exit 3; }\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Send(t.Context(), &config.Alert{Script: path}, sample()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "got"))
	var a Alert
	if err != nil || json.Unmarshal(text, &a) != nil || a.Key != "10-alpha:over" || a.Text[1] != "The proof: E3 time." {
		t.Errorf("%s, %v", text, err)
	}
	if env, err := os.ReadFile(filepath.Join(dir, "env")); err != nil || string(env) != "over hospital\n" {
		t.Errorf("%q, %v", env, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fail"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Send(t.Context(), &config.Alert{Script: path}, sample()); err == nil || !strings.Contains(err.Error(), "exits with 3: no") {
		t.Error(err)
	}
}

// TestWebhook: the JSON and the headers arrive; a refusal is said, and never with the
// URL, which may be a secret.
func TestWebhook(t *testing.T) {
	t.Parallel()
	var a Alert
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/hook/T0-secret" || r.Header.Get("Authorization") != "Bearer geheim" {
			http.Error(w, "who are you", http.StatusForbidden)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&a)
	}))
	defer s.Close()
	to := &config.Alert{Webhook: &config.Webhook{URL: s.URL + "/hook/T0-secret", HeaderFile: private(t, "Authorization: Bearer geheim")}}
	if err := Send(t.Context(), to, sample()); err != nil || a.Title != sample().Title {
		t.Errorf("%+v, %v", a, err)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("somebody else was told %v", r.Header) }))
	defer elsewhere.Close()
	moved := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer moved.Close()
	if err := Send(t.Context(), &config.Alert{Webhook: &config.Webhook{URL: moved.URL, HeaderFile: to.Webhook.HeaderFile}}, sample()); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("sent on: %v", err)
	}
	to.Webhook.HeaderFile = ""
	err := Send(t.Context(), to, sample())
	if err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "who are you") || strings.Contains(err.Error(), "T0-secret") {
		t.Error(err)
	}
	s.Close()
	if err := Send(t.Context(), to, sample()); err == nil || strings.Contains(err.Error(), "T0-secret") {
		t.Error(err)
	}
	to.Webhook.HeaderFile = private(t, "X: y")
	if err := os.Chmod(to.Webhook.HeaderFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Send(t.Context(), to, sample()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
}

// mailServer takes one letter, and gives what it was told.
func mailServer(t *testing.T, refuse string) (address string, said <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	all := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "220 mail\r\n")
		var b strings.Builder
		data := false
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			b.WriteString(line)
			switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); {
			case data && line != ".\r\n":
				continue
			case refuse != "" && strings.HasPrefix(line, refuse):
				fmt.Fprint(c, "550 no such user\r\n")
				continue
			case word == "EHLO":
				fmt.Fprint(c, "250-mail\r\n250 AUTH PLAIN\r\n")
				continue
			case word == "DATA":
				data = true
				fmt.Fprint(c, "354 go on\r\n")
				continue
			case word == "AUTH":
				fmt.Fprint(c, "235 welcome\r\n")
				continue
			}
			data = false
			fmt.Fprint(c, "250 ok\r\n")
		}
		all <- b.String()
	}()
	return l.Addr().String(), all
}

func TestMail(t *testing.T) {
	t.Parallel()
	address, said := mailServer(t, "")
	m := &config.Mail{To: "ops@example.org", From: "ha@example.org", Server: "smtp://" + address, User: "ha", PasswordFile: private(t, "geheim")}
	if err := Send(t.Context(), &config.Alert{Mail: m}, sample()); err != nil {
		t.Fatal(err)
	}
	text := <-said
	for _, words := range []string{
		"AUTH PLAIN AGhhAGdlaGVpbQ==", "MAIL FROM:<ha@example.org>", "RCPT TO:<ops@example.org>", "Subject: =?utf-8?q?[hospital]_over:_node_alpha_was_lost", "Auto-Submitted: auto-generated",
		"Message-ID: <10-alpha.over.hospital@holdfast>", "The cause: alpha fell silent.\r\n", "What to do:\r\n- look at alpha\r\n",
	} {
		if !strings.Contains(text, words) {
			t.Errorf("no %q in %s", words, text)
		}
	}
	address, _ = mailServer(t, "RCPT")
	if err := Send(t.Context(), &config.Alert{Mail: &config.Mail{To: "nobody@example.org", From: "a@b", Server: "smtp://" + address}}, sample()); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Error(err)
	}
}

// TestTrap takes a trap apart by another decoder than the one that could be wrong in
// the same way.
func TestTrap(t *testing.T) {
	t.Parallel()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := sample()
	a.Text = append(a.Text, strings.Repeat("long ", 500))
	if err := Send(t.Context(), &config.Alert{Trap: &config.Trap{To: c.LocalAddr().String(), CommunityFile: private(t, "geheim")}}, a); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65536)
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := c.ReadFrom(buf)
	if err != nil || n > 1400 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	var message struct {
		Version   int
		Community []byte
		PDU       asn1.RawValue
	}
	if rest, err := asn1.Unmarshal(buf[:n], &message); err != nil || len(rest) > 0 || message.Version != 1 || string(message.Community) != "geheim" || message.PDU.Class != asn1.ClassContextSpecific || message.PDU.Tag != 7 {
		t.Fatalf("%+v, %d left, %v", message, len(rest), err)
	}
	body := append([]byte{0x30}, message.PDU.FullBytes[1:]...)
	var pdu struct {
		Request, Status, Index int
		Variables              []struct {
			Name  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
	}
	if rest, err := asn1.Unmarshal(body, &pdu); err != nil || len(rest) > 0 || pdu.Status != 0 || pdu.Index != 0 {
		t.Fatalf("%+v, %d left, %v", pdu, len(rest), err)
	}
	var names, texts []string
	for _, v := range pdu.Variables {
		names, texts = append(names, v.Name.String()), append(texts, string(v.Value.Bytes))
	}
	const own = "1.3.6.1.4.1.8072.9999.9999.7320"
	want := []string{"1.3.6.1.2.1.1.3.0", "1.3.6.1.6.3.1.1.4.1.0", own + ".2.1", own + ".2.2", own + ".2.3", own + ".2.4", own + ".2.5", own + ".2.6", own + ".2.7"}
	if !slices.Equal(names, want) || texts[2] != "hospital" || texts[3] != Over || len(texts[5]) != mostTrapText || texts[7] != a.Key {
		t.Errorf("%q %q", names, texts)
	}
	var which asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(pdu.Variables[1].Value.FullBytes, &which); err != nil || which.String() != own+".1" {
		t.Errorf("%v, %v", which, err)
	}
}

// TestNumbers: as many bytes as are needed, and a sign that is never negative.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[uint64]string{0: "00", 127: "7f", 128: "0080", 255: "00ff", 256: "0100", 0x7fffffff: "7fffffff", 0x80000000: "0080000000"} {
		if got := fmt.Sprintf("%x", number(v)); got != want {
			t.Errorf("%d: %s, want %s", v, got, want)
		}
	}
	if b := ber(4, make([]byte, 300)); b[1] != 0x82 || b[2] != 1 || b[3] != 44 || len(b) != 304 {
		t.Errorf("% x", b[:4])
	}
	if b := ber(4, make([]byte, 200)); b[1] != 0x81 || b[2] != 200 {
		t.Errorf("% x", b[:4])
	}
}
