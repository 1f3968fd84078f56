package gather

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/config"
	"github.com/holdfast-ha/holdfast/internal/doctor"
)

// Certified makes a certificate that ends at a time.
func Certified(t *testing.T, end time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestCertificates: by the clock of that moment one is good, one is to be renewed, one
// has ended; of several in a file the first one to end counts; what is pinned, or is
// believed anyway, has no end that matters.
func TestCertificates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	root := t.TempDir()
	write := func(name string, ends ...time.Time) string {
		var text []byte
		for _, e := range ends {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: Certified(t, e).Certificate[0]})...)
		}
		if err := os.WriteFile(filepath.Join(root, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return "/" + name
	}
	day := 24 * time.Hour
	m := &Machine{Root: root, Probe: Probes{Certificate: func(_ context.Context, at string) (time.Time, error) {
		if at != "bmc.example:443" {
			t.Errorf("%s was asked", at)
		}
		return now.Add(-day), nil
	}}}
	n := &config.Node{
		Metrics: config.Metrics{Certificate: write("chain", now.Add(400*day), now.Add(20*day)), Clients: write("clients", now.Add(31*day))},
		Controllers: map[string]config.Controller{
			"beta":  {URL: "redfish://fence@bmc.example"},
			"gamma": {URL: "redfish://fence@pinned.example?fingerprint=sha256:" + strings.Repeat("ab", 32)},
			"delta": {URL: "ipmi://fence@old.example"},
		},
	}
	examine := func() string {
		f := &doctor.Facts{}
		f.Cluster.Certificates = m.certificates(t.Context(), n, now)
		var words []string
		r := doctor.Examine(f, "cluster")
		for _, s := range r.Sections {
			for _, x := range s.Findings {
				if x.Check == "certificates" {
					words = append(words, x.On+" "+string(x.Level))
				}
			}
		}
		return strings.Join(words, ", ")
	}
	if got := examine(); got != "/chain warning, /clients ok, the controller of beta failure" {
		t.Errorf("%s", got)
	}
	n.Metrics.Certificate, n.Metrics.Clients, n.Controllers = write("empty"), "/none", nil
	if got := examine(); got != "/empty failure, /none failure" {
		t.Errorf("%s", got)
	}
}

// TestShown asks a listener for its certificate.
func TestShown(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{Certified(t, end)}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	if got, err := shown(t.Context(), l.Addr().String()); err != nil || !got.Equal(end) {
		t.Errorf("%v, %v; want %v", got, err, end)
	}
}
