package bmc

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Secret is a password. It prints as [password] in every format, and is handed
// to drivers in memory, in a pipe or in an environment, never in an argument
// list, where every user of the machine can read it.
type Secret struct{ text string }

// NewSecret makes a secret of a text. Where it is stored in a file, use
// ReadSecret.
func NewSecret(text string) Secret { return Secret{text: text} }

// String gives [password], or the empty string for the empty secret.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "[password]"
}

// Format gives what String gives, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText gives what String gives.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue gives what String gives.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Reveal gives the password itself, for a driver to hand on.
func (s Secret) Reveal() string { return s.text }

// credential is the prefix of a secret that the service manager passes.
const credential = "credential:"

// maxSecret is the longest password file, in bytes: more is no password.
const maxSecret = 4096

// ReadSecret reads a password: the first line of a file that only its owner can
// read (mode 0600 or less; the owner is root or this process), or, for
// "credential:NAME", of the credential NAME that systemd passed to this service
// (LoadCredential= and its relatives, see systemd.exec(5)).
func ReadSecret(place string) (Secret, error) {
	path := place
	if name, ok := strings.CutPrefix(place, credential); ok {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return Secret{}, fmt.Errorf("password %s: systemd passed no credentials to this process: add LoadCredential=%s:... to its unit", place, name)
		}
		if name == "" || name != filepath.Base(name) || name == ".." || name == "." {
			return Secret{}, fmt.Errorf("password %s: a credential has a plain name, without slashes", place)
		}
		path = filepath.Join(dir, name)
	}
	text, err := readPrivate(path)
	if err != nil {
		return Secret{}, fmt.Errorf("password %s: %w", place, err)
	}
	return NewSecret(text), nil
}

// readPrivate reads the first line of a file that nobody else can read. What it
// checks is the opened file, so that it cannot be exchanged in between.
func readPrivate(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is no regular file")
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return "", fmt.Errorf("has mode %04o, so that others can read or change it: chmod 0600 %s", perm, path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return "", fmt.Errorf("belongs to user %d, who can change it: chown root %s", st.Uid, path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxSecret {
		return "", fmt.Errorf("is longer than %d bytes: it should hold one line, the password", maxSecret)
	}
	line, rest, _ := strings.Cut(string(raw), "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case line == "":
		return "", errors.New("is empty: its first line should be the password")
	case strings.TrimSpace(rest) != "":
		return "", errors.New("has more than one line: it should hold the password only")
	case strings.ContainsRune(line, 0):
		return "", errors.New("holds a zero byte, which no controller accepts in a password")
	}
	return line, nil
}
