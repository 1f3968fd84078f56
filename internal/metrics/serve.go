package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// slowest is how long a scrape may take, and a scraper to ask.
const slowest = 40 * time.Second

// Serve answers GET /metrics at an address of this machine until ctx ends; one
// that is not valid is none. The error names the address.
func Serve(ctx context.Context, at netip.AddrPort, h http.Handler) error {
	if !at.IsValid() {
		return nil
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return fmt.Errorf("metrics: nobody can scrape %s: %w; change metrics.listen in node.yaml, and restart holdfastd", at, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", h)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: slowest, WriteTimeout: slowest, ErrorLog: log.New(io.Discard, "", 0)}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %s: %w", at, err)
	}
	return nil
}
