package api

import (
	"context"
	"net"
	"net/http"
)

// tcpClient sends everything to one TCP address.
func tcpClient(address string) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}}
}
