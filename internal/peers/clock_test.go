package peers

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// TestNoClock: what a certificate says of time is nobody's business. A machine whose
// clock stands at its first day, or centuries ahead, talks to the others.
func TestNoClock(t *testing.T) {
	t.Parallel()
	for _, year := range []int{1900, 1970, 2026, 2300, 9000} {
		id, err := NewIdentity([32]byte{1}, [32]byte{})
		if err != nil {
			t.Fatal(err)
		}
		wrong := id.config()
		wrong.Time = func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
		for _, c := range []struct{ client, server *tls.Config }{{wrong, id.config()}, {id.config(), wrong}} {
			a, b := net.Pipe()
			deadline := time.Now().Add(20 * time.Second)
			if err := a.SetDeadline(deadline); err != nil {
				t.Fatal(err)
			}
			server := make(chan error, 1)
			go func() { server <- tls.Server(b, c.server).Handshake() }() // ends with the pipe
			if err := tls.Client(a, c.client).Handshake(); err != nil {
				t.Errorf("in the year %d: %v", year, err)
			}
			_ = a.Close()
			if err := <-server; err != nil {
				t.Errorf("in the year %d: %v", year, err)
			}
		}
	}
}
