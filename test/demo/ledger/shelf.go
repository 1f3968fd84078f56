package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/test/demo/pgwire"
)

// newShelf is what a URL names: the service of this package, or a table of a
// PostgreSQL database. patience is with one write.
func newShelf(at string, patience time.Duration) (shelf, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "postgres" {
		// A connection of its own for every write, as from as many clients: none
		// survives a takeover anyway.
		return &web{url: at, http: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}, nil
	}
	password, _ := u.User.Password()
	return &database{patience: patience, login: pgwire.Login{
		Address: u.Host, User: u.User.Username(), Password: password, Database: strings.TrimPrefix(u.Path, "/"),
	}}, nil
}

// web is the service of this package.
type web struct {
	url  string
	http *http.Client
}

func (b *web) append(line string) (node string, err error) {
	resp, err := b.http.Post(b.url+"/append", "text/plain", strings.NewReader(line))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Header.Get(nodeHeader), err
}

func (b *web) read(ctx context.Context) (text, node string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/read", nil)
	if err != nil {
		return "", "", err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), resp.Header.Get(nodeHeader), err
}

// database is a table of a PostgreSQL database. Its node is when the server that
// answers was started.
type database struct {
	login    pgwire.Login
	patience time.Duration
	conn     *pgwire.Conn // nil: there is none
	node     string
}

// append inserts the line; its commit is the acknowledgement.
func (b *database) append(line string) (node string, err error) {
	if err := b.connect(); err != nil {
		return "", err
	}
	_, err = b.query("INSERT INTO ledger VALUES ('"+line+"')", b.patience)
	return b.node, err
}

func (b *database) read(ctx context.Context) (text, node string, err error) {
	if err := b.connect(); err != nil {
		return "", "", err
	}
	patience := b.patience
	if until, ok := ctx.Deadline(); ok {
		patience = time.Until(until)
	}
	rows, err := b.query("SELECT line FROM ledger", patience)
	var all strings.Builder
	for _, row := range rows {
		all.WriteString(row[0] + "\n")
	}
	return all.String(), b.node, err
}

// connect has a connection, and a table.
func (b *database) connect() error {
	if b.conn != nil {
		return nil
	}
	var err error
	if b.conn, err = pgwire.Connect(b.login, b.patience); err != nil {
		return err
	}
	if _, err := b.query("CREATE TABLE IF NOT EXISTS ledger (line text)", b.patience); err != nil {
		return err
	}
	rows, err := b.query("SELECT pg_postmaster_start_time()", b.patience)
	if err == nil && len(rows) != 1 {
		err = errors.New("the server does not say when it was started")
	}
	if err != nil {
		return err
	}
	b.node = rows[0][0]
	return nil
}

// query gives a connection up that is of no use any more.
func (b *database) query(sql string, patience time.Duration) ([][]string, error) {
	rows, err := b.conn.Query(sql, patience)
	refused := (*pgwire.Error)(nil)
	if err != nil && (!errors.As(err, &refused) || refused.Severity != "ERROR") {
		_ = b.conn.Close() // the next one takes another
		b.conn = nil
	}
	return rows, err
}
