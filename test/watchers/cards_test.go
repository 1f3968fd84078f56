package watchers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// cards are the files of a small authority: for the daemons, and for who scrapes them.
type cards struct {
	authority, node, nodeKey, scraper, scraperKey string
}

// issue makes them. All nodes share one certificate, which names all their addresses.
func issue(t *testing.T) *cards {
	t.Helper()
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "watchers"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	c := &cards{authority: write("authority", "CERTIFICATE", der)}
	sign := func(name string, serial int64) (cert, key string) {
		own, failed := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		card := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		for host := range 9 {
			card.IPAddresses = append(card.IPAddresses, net.IPv4(10, 77, 2, byte(host)))
		}
		der, err := x509.CreateCertificate(rand.Reader, card, root, own.Public(), private)
		text, failedToo := x509.MarshalPKCS8PrivateKey(own)
		if err := errors.Join(failed, err, failedToo); err != nil {
			t.Fatal(err)
		}
		return write(name, "CERTIFICATE", der), write(name+".key", "PRIVATE KEY", text)
	}
	c.node, c.nodeKey = sign("node", 2)
	c.scraper, c.scraperKey = sign("scraper", 3)
	return c
}
