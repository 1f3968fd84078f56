package metrics

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/internal/api"
)

// free is an address of this machine at which nobody listens.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// serving serves until the test ends.
func serving(t *testing.T, at Place) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, at, Handler(func() (*api.Status, error) { return sample(), nil })) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// asked scrapes until somebody listens, and says why that has failed otherwise.
func asked(t *testing.T, c *http.Client, url string) error {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := c.Get(url)
		if err == nil {
			text, err := io.ReadAll(resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err == nil && !strings.Contains(string(text), "holdfast_up 1") {
				t.Errorf("%s", text)
			}
			return err
		}
		if refused := (*net.OpError)(nil); !errors.As(err, &refused) || refused.Op != "dial" || time.Now().After(deadline) {
			return err
		}
	}
}

// TestServe: an address of the machine answers scrapes, and one that is taken is named.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	if err := Serve(t.Context(), Place{Listen: at}, nil); err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("an address that is taken: %v", err)
	}
	if err := errors.Join(l.Close(), Serve(t.Context(), Place{}, nil)); err != nil {
		t.Fatal(err)
	}
	serving(t, Place{Listen: at})
	if err := asked(t, http.DefaultClient, "http://"+at.String()+"/metrics"); err != nil {
		t.Error(err)
	}
}

// issue makes a certificate and its key as files, of nobody or of an authority.
func issue(t *testing.T, name string, by *tls.Certificate) (cert, key string, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	card := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: by == nil,
	}
	issuer, signer := card, any(private)
	if by != nil {
		if issuer, err = x509.ParseCertificate(by.Certificate[0]); err != nil {
			t.Fatal(err)
		}
		signer = by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, card, issuer, private.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	err = errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// TestServeTLS: with a certificate nobody is answered in clear, and with clients only
// those of the authority; a certificate that is renewed is used without a restart, and
// a key that others can read is refused.
func TestServeTLS(t *testing.T) {
	cert, key, server := issue(t, "server", nil)
	clients, _, authority := issue(t, "clients", nil)
	_, _, member := issue(t, "member", &authority)
	at := free(t)
	serving(t, Place{Listen: at, Certificate: cert, Key: key, Clients: clients})
	url := "https://" + at.String() + "/metrics"
	client := func(root tls.Certificate, with ...tls.Certificate) *http.Client {
		leaf, err := x509.ParseCertificate(root.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(leaf)
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: with}}}
	}
	if err := asked(t, client(server, member), url); err != nil {
		t.Error(err)
	}
	if err := asked(t, client(server), url); err == nil {
		t.Error("a client without a certificate was answered")
	}
	if err := asked(t, client(server, server), url); err == nil {
		t.Error("a client of another authority was answered")
	}
	if resp, err := http.Get("http://" + at.String() + "/metrics"); err == nil && resp.StatusCode == http.StatusOK {
		t.Error("it answers in clear")
	}
	cert2, key2, renewed := issue(t, "renewed", nil)
	for from, to := range map[string]string{cert2: cert, key2: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := asked(t, client(renewed, member), url); err != nil {
		t.Errorf("after a renewal: %v", err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	err := Serve(t.Context(), Place{Listen: free(t), Certificate: cert, Key: key}, http.NotFoundHandler())
	if err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key for everybody: %v", err)
	}
	if err := os.WriteFile(clients, bytes.Repeat([]byte("x"), 9), 0o600); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.Chmod(key, 0o600), Serve(t.Context(), Place{Listen: free(t), Certificate: cert, Key: key, Clients: clients}, http.NotFoundHandler()))
	if err == nil || !strings.Contains(err.Error(), clients) {
		t.Errorf("authorities that are none: %v", err)
	}
}
