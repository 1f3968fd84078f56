package metrics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// slowest is how long a scrape may take, and a scraper to ask.
const slowest = 40 * time.Second

// Place is where scrapes are answered, and for whom.
type Place struct {
	Listen           netip.AddrPort // not valid: nowhere
	Certificate, Key string         // PEM files; empty: without TLS
	Clients          string         // PEM file with the authorities of those who may ask; empty: whoever reaches it
}

// Serve answers GET /metrics at a place until ctx ends; one without an address is none.
// The files are read at each connection, so that a renewed certificate needs no
// restart. The error names the address, or the file.
func Serve(ctx context.Context, at Place, h http.Handler) error {
	if !at.Listen.IsValid() {
		return nil
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at.Listen))
	if err != nil {
		return fmt.Errorf("metrics: nobody can scrape %s: %w; change metrics.listen in node.yaml, and restart holdfastd", at.Listen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: slowest, WriteTimeout: slowest, ErrorLog: log.New(io.Discard, "", 0)}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if at.Certificate == "" {
		err = s.Serve(l)
	} else if _, err = at.settings(nil); err == nil { // what cannot be read is said at once
		s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: at.settings}
		err = s.ServeTLS(l, "", "")
	} else {
		err = errors.Join(err, l.Close())
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %s: %w; mend metrics in node.yaml, and restart holdfastd", at.Listen, err)
	}
	return nil
}

// settings are those of one connection.
func (p Place) settings(*tls.ClientHelloInfo) (*tls.Config, error) {
	if info, err := os.Stat(p.Key); err != nil {
		return nil, err
	} else if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: chmod 600 %s", p.Key, p.Key)
	}
	pair, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Certificate, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if p.Clients == "" {
		return c, nil
	}
	text, err := os.ReadFile(p.Clients)
	if err != nil {
		return nil, err
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", p.Clients)
	}
	return c, nil
}
