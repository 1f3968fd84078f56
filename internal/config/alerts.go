package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/holdfast-ha/holdfast/internal/config/form"
)

// Alert is one receiver of alerts: exactly one of the fields is set.
type Alert struct {
	Script  string // path of a program, which gets the alert on its standard input
	Mail    *Mail
	Webhook *Webhook
	Trap    *Trap
}

// Mail is where mail goes, and by which server.
type Mail struct {
	To           string
	From         string // empty: holdfast@ and the host's name
	Server       string // smtp://host:port, or smtps:// with TLS from the first byte
	User         string
	PasswordFile string
}

// Webhook is a URL that gets alerts as JSON.
type Webhook struct {
	URL        string
	HeaderFile string // lines "Name: value" that are sent along, as Authorization; empty: none
}

// Trap is who gets SNMP version 2c traps.
type Trap struct {
	To            string // host:port
	CommunityFile string // empty: public
}

// LocalMail is the mail server of a receiver that names none: this machine's own.
const LocalMail = "smtp://localhost:25"

// Name names a receiver without what is secret in it.
func (a *Alert) Name() string {
	switch {
	case a.Script != "":
		return "script " + a.Script
	case a.Mail != nil:
		return "mail to " + a.Mail.To
	case a.Webhook != nil:
		host := a.Webhook.URL
		if u, err := url.Parse(host); err == nil {
			host = u.Scheme + "://" + u.Host
		}
		return "webhook " + host
	case a.Trap != nil:
		return "trap to " + a.Trap.To
	}
	return "nobody"
}

func alertShape() form.Shape {
	address := func(doc string) form.Shape {
		return form.Text(doc, "ops@example.org", form.Like(`^[^@\s,]+@[^@\s,]+$`, "is no mail address"))
	}
	hook := form.Text("A URL that gets the alert as JSON", "https://example.org/hook", form.Like(`^https?://[^/\s]+`, "is no http or https URL"))
	either := func(text, object form.Shape) form.Shape {
		text.Or = &object
		return text
	}
	return form.Object("One receiver",
		form.Optional("script", form.Text("A program, called with the alert as JSON on its standard input", "/usr/local/bin/notify", form.Absolute)),
		form.Optional("mail", either(address("An address, by the mail server of this machine"), form.Object("An address, and the mail server to it",
			form.Required("to", address("Who gets it")),
			form.Optional("from", address("Who it is from; default holdfast@ and the host's name")),
			form.Optional("server", form.Text("The mail server; default "+LocalMail, "smtp://mail.example.org:587", mailServer)),
			form.Optional("user", form.Text("Who logs in there", "holdfast", nil)),
			form.Optional("password_file", form.Text("A file of mode 0600 with the user's password", "/etc/holdfast/mail.secret", form.Absolute))))),
		form.Optional("webhook", either(hook, form.Object("A URL that gets the alert as JSON, with headers",
			form.Required("url", hook),
			form.Optional("header_file", form.Text("A file of mode 0600 with lines such as Authorization: Bearer ...", "/etc/holdfast/hook.secret", form.Absolute))))),
		form.Optional("trap", either(form.Text("A receiver of SNMP traps (version 2c)", "10.0.0.9:162", hostPort), form.Object("A receiver of SNMP traps (version 2c), with its community",
			form.Required("to", form.Text("Host and port", "10.0.0.9:162", hostPort)),
			form.Optional("community_file", form.Text("A file of mode 0600 with the community; default public", "/etc/holdfast/trap.secret", form.Absolute))))),
	)
}

func mailServer(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || hostPort(u.Host) != "" || u.Path != "" || u.User != nil {
		return "is no smtp://HOST:PORT or smtps://HOST:PORT"
	}
	return ""
}

func hostPort(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "" || strings.Trim(port, "0123456789") != "" {
		return "is no HOST:PORT"
	}
	return ""
}

func (c *clusterReader) alerts(v *form.Value) []Alert {
	var list []Alert
	for i, e := range v.Items("alerts") {
		at := fmt.Sprintf("alerts[%d]", i+1)
		if len(e.Keys) != 1 {
			c.Add(e.Node, fmt.Sprintf("%s: names %d receivers, not one", at, len(e.Keys)), "write one list entry for each")
			continue
		}
		a := Alert{Script: e.Str("script")}
		switch m, w, t := e.Get("mail"), e.Get("webhook"), e.Get("trap"); {
		case m != nil && m.IsObject():
			a.Mail = &Mail{To: m.Str("to"), From: m.Str("from"), Server: m.Str("server"), User: m.Str("user"), PasswordFile: m.Str("password_file")}
			if (a.Mail.User == "") != (a.Mail.PasswordFile == "") {
				c.Add(m.Node, at+".mail: user and password_file belong together", "write both, or none")
			}
		case m != nil:
			a.Mail = &Mail{To: m.Text}
		case w != nil && w.IsObject():
			a.Webhook = &Webhook{URL: w.Str("url"), HeaderFile: w.Str("header_file")}
		case w != nil:
			a.Webhook = &Webhook{URL: w.Text}
		case t != nil && t.IsObject():
			a.Trap = &Trap{To: t.Str("to"), CommunityFile: t.Str("community_file")}
		case t != nil:
			a.Trap = &Trap{To: t.Text}
		}
		if a.Mail != nil && a.Mail.Server == "" {
			a.Mail.Server = LocalMail
		}
		list = append(list, a)
	}
	return list
}
