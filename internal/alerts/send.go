package alerts

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/smtp"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/bmc"
	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/storage/program"
)

// within bounds one attempt to tell one receiver.
const within = 30 * time.Second

// Send tells one receiver. It returns when the receiver has taken the alert: a
// program that ended with 0, a mail server or a web server that said yes; a trap is
// sent and never answered.
func Send(ctx context.Context, r *config.Alert, a *Alert) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	switch {
	case r.Script != "":
		return script(ctx, r.Script, a)
	case r.Mail != nil:
		return mail(ctx, r.Mail, a)
	case r.Webhook != nil:
		return webhook(ctx, r.Webhook, a)
	case r.Trap != nil:
		return trap(ctx, r.Trap, a)
	}
	return errors.New("the receiver is of no known kind")
}

func script(ctx context.Context, path string, a *Alert) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	res, err := program.Run(ctx, program.Command{Argv: []string{path}, Stdin: string(text) + "\n", Env: []string{
		"HOLDFAST_ALERT_LEVEL=" + a.Level, "HOLDFAST_ALERT_TITLE=" + a.Title, "HOLDFAST_ALERT_KEY=" + a.Key, "HOLDFAST_CLUSTER=" + a.Cluster,
	}})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("it exits with %d: %s", res.Code, res.Said())
	}
	return err
}

func webhook(ctx context.Context, w *config.Webhook, a *Alert) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(text))
	if err != nil {
		return errors.New("its URL cannot be used") // the URL may be the secret
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "holdfast")
	if w.HeaderFile != "" {
		if err := headers(req, w.HeaderFile); err != nil {
			return err
		}
	}
	client := &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// Headers may be secrets: they go nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // for people
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %s: %s", resp.Status, strings.TrimSpace(string(said)))
	}
	return nil
}

// headers adds the lines of a file that nobody else may read.
func headers(req *http.Request, file string) error {
	if info, err := os.Stat(file); err != nil {
		return err
	} else if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others: chmod 600 %s", file, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if name, value, is := strings.Cut(strings.TrimSpace(line), ":"); is {
			req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	return nil
}

// mail speaks SMTP (RFC 5321) with the server, with TLS where it offers that.
func mail(ctx context.Context, m *config.Mail, a *Alert) error {
	u, err := url.Parse(m.Server)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, has := ctx.Deadline(); has {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	if u.Scheme == "smtps" {
		conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()})
	}
	c, err := smtp.NewClient(conn, u.Hostname())
	if err != nil {
		return err
	}
	if err := greet(c, u, m); err != nil {
		return err
	}
	from := m.From
	if from == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		from = "holdfast@" + host
	}
	if err := errors.Join(c.Mail(from), c.Rcpt(m.To)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = w.Write(letter(from, m.To, a))
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	_ = c.Quit() // the server has the letter
	return nil
}

// greet begins TLS where it is offered, and logs in. A password is never sent without
// TLS, but to this machine.
func greet(c *smtp.Client, u *url.URL, m *config.Mail) error {
	if offered, _ := c.Extension("STARTTLS"); offered && u.Scheme == "smtp" {
		local := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
		if err := c.StartTLS(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), InsecureSkipVerify: local}); err != nil {
			return err
		}
	}
	if m.User == "" {
		return nil
	}
	secret, err := bmc.ReadSecret(m.PasswordFile)
	if err != nil {
		return err
	}
	return c.Auth(smtp.PlainAuth("", m.User, secret.Reveal(), u.Hostname()))
}

// letter is an alert as a message (RFC 5322).
func letter(from, to string, a *Alert) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: %s", from)
	line("To: %s", to)
	line("Date: %s", a.Time.Format(time.RFC1123Z))
	line("Subject: %s", mime.QEncoding.Encode("utf-8", strings.NewReplacer("\n", " ", "\r", " ").Replace("["+a.Cluster+"] "+a.Title)))
	line("Message-ID: <%s.%s@holdfast>", strings.NewReplacer(":", ".", " ", ".").Replace(a.Key), a.Cluster)
	line("Auto-Submitted: auto-generated")
	line("MIME-Version: 1.0")
	line("Content-Type: text/plain; charset=utf-8")
	line("Content-Transfer-Encoding: 8bit")
	line("")
	line("cluster %s, told by %s", a.Cluster, a.Sender)
	for _, t := range a.Text {
		line("")
		line("%s", strings.ReplaceAll(t, "\n", "\r\n"))
	}
	if len(a.Next) > 0 {
		line("")
		line("What to do:")
	}
	for _, n := range a.Next {
		line("- %s", n)
	}
	return b.Bytes()
}
