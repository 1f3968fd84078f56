package storage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// How long Signatures may take if its context does not say, and how much of the
// disk it reads itself.
const (
	signaturesTimeout = 30 * time.Second
	lookedAt          = 1 << 20
)

// Signatures says what the block device or regular file at path carries, one
// phrase for each finding: file systems, swap, LVM and RAID members, encrypted
// volumes, partition tables (all by blkid of util-linux), or, where blkid knows
// nothing, data of an unknown kind in the first MiB. No finding means that
// blkid knows nothing and that the first MiB is all zero.
//
// It is bounded by ctx, or by 30 seconds: blkid runs in a child process that is
// left behind if it cannot be killed because the disk does not answer.
func Signatures(ctx context.Context, path string) ([]string, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, signaturesTimeout)
		defer cancel()
	}
	found, err := signatures(ctx, path)
	if err != nil {
		return nil, &OpError{Op: "check", Path: path, Err: err}
	}
	return found, nil
}

func signatures(ctx context.Context, path string) ([]string, error) {
	// Our own read first: its wait is bounded, and if the disk does not answer
	// no child is started that nobody could end.
	used, err := firstUsed(ctx, path)
	if err != nil {
		return nil, err
	}
	program, err := findBlkid()
	if err != nil {
		return nil, err
	}
	out, code, err := runBounded(ctx, program, "-p", "-o", "export", path)
	if err != nil {
		return nil, err
	}
	var found []string
	switch code {
	case 0:
		found = describe(out)
	case 2: // nothing found
	case 8:
		return []string{"several signatures that contradict each other (see: wipefs " + path + ")"}, nil
	default:
		return nil, fmt.Errorf("%s ended with status %d", program, code)
	}
	if len(found) == 0 && used >= 0 {
		found = []string{fmt.Sprintf("unknown data: the first MiB is not empty (first byte that is not zero at %d)", used)}
	}
	return found, nil
}

// firstUsed returns the offset of the first byte that is not zero in the first
// MiB of the disk, or -1.
func firstUsed(ctx context.Context, path string) (int64, error) {
	d, err := open(path, Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	deadline, _ := ctx.Deadline()
	buf := make([]byte, min(lookedAt, d.info.Size))
	if err := d.transfer(opRead, buf, 0, time.Until(deadline)); err != nil {
		// After a timeout the handle is left to the kernel and to the end of
		// this process: that is what Close would say too.
		_ = d.Close()
		return 0, fmt.Errorf("read of the first %d bytes: %w", len(buf), err)
	}
	if err := d.Close(); err != nil {
		return 0, err
	}
	return int64(bytes.IndexFunc(buf, func(r rune) bool { return r != 0 })), nil
}

// findBlkid looks also where an ordinary user's PATH does not.
func findBlkid() (string, error) {
	for _, name := range []string{"blkid", "/usr/sbin/blkid", "/sbin/blkid"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("blkid is not installed (package util-linux), and without it nobody knows what the disk carries")
}

// runBounded runs a program in a clean environment and returns its output and
// its exit status. A program in uninterruptible sleep survives its kill: it is
// given up then, and reaped by a goroutine that ends with it.
func runBounded(ctx context.Context, program string, args ...string) ([]byte, int, error) {
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
		cmd.WaitDelay = time.Second
		out, err := cmd.Output()
		done <- result{out, err}
	}()
	select {
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("%s: no answer from the disk: %w", program, ctx.Err())
	case r := <-done:
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return nil, 0, fmt.Errorf("%s: no answer from the disk: %w", program, ctx.Err())
		case errors.As(r.err, &exit) && exit.Exited():
			return r.out, exit.ExitCode(), nil
		case r.err != nil:
			return nil, 0, fmt.Errorf("%s: %w", program, r.err)
		}
		return r.out, 0, nil
	}
}

// describe turns the KEY=value lines of blkid -o export into phrases. Lines
// about the entry in a partition table that describes the disk itself
// (PART_ENTRY_...) say nothing about what it carries.
func describe(export []byte) []string {
	tags := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(export))
	for lines.Scan() {
		if key, value, found := strings.Cut(lines.Text(), "="); found {
			tags[key] = unescape(value)
		}
	}
	var found []string
	if kind := tags["TYPE"]; kind != "" {
		what := contentName(kind, tags["USAGE"])
		if label := tags["LABEL"]; label != "" {
			what += fmt.Sprintf(", label %q", label)
		}
		if uuid := tags["UUID"]; uuid != "" {
			what += ", UUID " + uuid
		}
		found = append(found, what)
	}
	switch table := tags["PTTYPE"]; table {
	case "":
	case "dos":
		found = append(found, "a partition table (MBR)")
	default:
		found = append(found, "a partition table ("+strings.ToUpper(table)+")")
	}
	return found
}

// unescape undoes the backslash that blkid sets before shell characters.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// contentName says what a TYPE of libblkid is.
func contentName(kind, usage string) string {
	switch kind {
	case "swap":
		return "swap space"
	case "swsuspend":
		return "the memory image of a suspended host"
	case "LVM2_member", "LVM1_member":
		return "an LVM physical volume"
	case "linux_raid_member":
		return "a member of a Linux RAID array"
	case "crypto_LUKS":
		return "an encrypted volume (LUKS)"
	case "drbd":
		return "a DRBD replica"
	case "zfs_member":
		return "a member of a ZFS pool"
	case "mpath_member":
		return "a path of a multipath device"
	}
	switch usage {
	case "filesystem":
		return "a file system (" + kind + ")"
	case "raid":
		return "a member of a RAID or volume manager (" + kind + ")"
	case "crypto":
		return "an encrypted volume (" + kind + ")"
	}
	return "data of type " + kind
}
