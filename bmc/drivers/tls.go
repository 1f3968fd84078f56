package drivers

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-ha/holdfast/bmc"
)

// tlsConfig says which controller is believed: one whose certificate has the
// pinned fingerprint, or, without one, whose certificate the system's or the
// named authorities vouch for; any only if the admin said so.
func tlsConfig(r bmc.Reference) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.Host}
	switch {
	case r.Options["fingerprint"] != "":
		want, err := bmc.ParseFingerprint(r.Options["fingerprint"])
		if err != nil {
			return nil, err
		}
		c.InsecureSkipVerify = true // the names and dates on a pinned certificate prove nothing more
		c.VerifyConnection = func(s tls.ConnectionState) error { return pinned(want, s) }
	case r.Options["tls"] == "insecure":
		c.InsecureSkipVerify = true
	case r.Options["ca"] != "":
		pem, err := os.ReadFile(r.Options["ca"])
		if err != nil {
			return nil, fmt.Errorf("certificate authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authorities: %s holds no certificate in PEM form", r.Options["ca"])
		}
	}
	return c, nil
}

// pinned checks the certificate of a connection against a fingerprint.
func pinned(want [sha256.Size]byte, s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the controller showed no certificate")
	}
	got := sha256.Sum256(s.PeerCertificates[0].Raw)
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return fmt.Errorf("the controller's certificate has the fingerprint sha256:%x, pinned is another one: "+
			"was the certificate renewed, or does somebody else answer?", got)
	}
	return nil
}

// unverified adds to an error of certificate verification what to do about it.
func unverified(err error) error {
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) || len(bad.UnverifiedCertificates) == 0 {
		return err
	}
	return fmt.Errorf("%w; if the controller's own console shows the fingerprint sha256:%x, add ?fingerprint=sha256:%x to the reference",
		bad.Err, sha256.Sum256(bad.UnverifiedCertificates[0].Raw), sha256.Sum256(bad.UnverifiedCertificates[0].Raw))
}
