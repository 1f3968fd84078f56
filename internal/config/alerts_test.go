package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-ha/holdfast/internal/config"
)

const alertHead = "cluster: {name: hospital, failover_within: 10s}\nservices: {}\nalerts:\n"

func TestAlerts(t *testing.T) {
	t.Parallel()
	got, err := config.ParseAlerts("cluster.yaml", []byte(alertHead+`
  - script: /usr/local/bin/notify
  - mail: {to: ops@example.org, from: ha@example.org, server: "smtps://mail.example.org:465", user: holdfast, password_file: /etc/holdfast/mail.secret}
  - webhook: {url: "https://example.org/hook/T0-path?k=v", header_file: /etc/holdfast/hook.secret}
  - trap: 10.0.0.9:162
  - trap: {to: "[2001:db8::9]:162", community_file: /etc/holdfast/trap.secret}
`))
	want := []config.Alert{
		{Script: "/usr/local/bin/notify"},
		{Mail: &config.Mail{To: "ops@example.org", From: "ha@example.org", Server: "smtps://mail.example.org:465", User: "holdfast", PasswordFile: "/etc/holdfast/mail.secret"}},
		{Webhook: &config.Webhook{URL: "https://example.org/hook/T0-path?k=v", HeaderFile: "/etc/holdfast/hook.secret"}},
		{Trap: &config.Trap{To: "10.0.0.9:162"}},
		{Trap: &config.Trap{To: "[2001:db8::9]:162", CommunityFile: "/etc/holdfast/trap.secret"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	names := []string{"script /usr/local/bin/notify", "mail to ops@example.org", "webhook https://example.org", "trap to 10.0.0.9:162", "trap to [2001:db8::9]:162"}
	for i := range got {
		if got[i].Name() != names[i] {
			t.Errorf("%q, want %q", got[i].Name(), names[i])
		}
	}
}

func TestWrongAlerts(t *testing.T) {
	t.Parallel()
	for text, words := range map[string]string{
		"  - {webhook: http://x, script: /y}\n":            "names 2 receivers",
		"  - mail: nobody\n":                               "no mail address",
		"  - mail: {to: a@b, server: mail.example:25}\n":   "smtp://HOST:PORT",
		"  - mail: {to: a@b, server: smtp://u:p@h:25}\n":   "smtp://HOST:PORT",
		"  - mail: {to: a@b, user: u}\n":                   "belong together",
		"  - mail: {to: a@b, password: geheim}\n":          "password",
		"  - trap: 10.0.0.9\n":                             "HOST:PORT",
		"  - script: notify\n":                             "absolute",
		"  - webhook: {url: ftp://x, header_file: /x}\n":   "no http",
		"  - webhook: {url: http://x, header_file: rel}\n": "absolute",
	} {
		if _, err := config.ParseAlerts("cluster.yaml", []byte(alertHead+text)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", text, err, words)
		}
	}
}
