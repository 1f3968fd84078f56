package storage

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The sector sizes that Holdfast knows, in bytes.
const (
	smallSector = 512
	largeSector = 4096
)

// defaultMaxIO is the buffer of a handle whose Options do not say, in bytes.
const defaultMaxIO = 256 << 10

// Options say how Open opens a disk. The zero value is right for reading and
// writing where a write need not have left the device's volatile cache when it
// returns.
type Options struct {
	// ReadOnly refuses every Write with ErrReadOnly.
	ReadOnly bool
	// Sync makes every Write durable before it returns (O_DSYNC: the device
	// is told to flush, or to write around its cache).
	Sync bool
	// MaxIO is the largest single request to the kernel in bytes, and the
	// size of the buffer that the handle keeps outside the Go heap. It is
	// rounded up to whole pages; 0 is 256 KiB. Larger reads and writes are
	// split, one request after the other.
	MaxIO int
	// SectorSize in bytes, 512 or 4096; 0 finds the right one. It must not be
	// less than direct I/O needs. A disk that was laid out with 512 by a host
	// that sees no 4096-byte physical blocks is opened by another with 512.
	SectorSize int
}

// Open opens a block device or a regular file for direct I/O. A file system
// that does not offer direct I/O is refused, for there the page cache would
// answer and not the disk. Errors are *OpError.
func Open(path string, opts Options) (Disk, error) {
	d, err := open(path, opts)
	if err != nil {
		return nil, &OpError{Op: "open", Path: path, Err: err}
	}
	return d, nil
}

func open(path string, opts Options) (*direct, error) {
	if opts.MaxIO < 0 {
		return nil, fmt.Errorf("MaxIO of %d bytes is negative", opts.MaxIO)
	}
	if s := opts.SectorSize; s != 0 && s != smallSector && s != largeSector {
		return nil, fmt.Errorf("a sector size of %d bytes is neither 512 nor 4096", s)
	}
	fd, err := openDirect(path, opts)
	if err != nil {
		return nil, err
	}
	d, err := onDescriptor(fd, path, opts)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return d, nil
}

// onDescriptor finds size, sector and identity, and sets up the queue. The
// descriptor stays the caller's until it succeeds.
func onDescriptor(fd int, path string, opts Options) (*direct, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("fstat: %w", err)
	}
	block, err := kindOf(&stat)
	if err != nil {
		return nil, err
	}
	info := Info{Path: path, Block: block, Identity: identify(sysfs("/sys"), &stat)}
	if block {
		info.SectorSize, info.LogicalSize, err = blockSector(fd, opts.SectorSize)
	} else {
		info.SectorSize, info.LogicalSize, err = fileSector(fd, opts.SectorSize)
	}
	if err != nil {
		return nil, err
	}
	size, err := unix.Seek(fd, 0, unix.SEEK_END)
	if err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	info.Size = size - size%int64(info.SectorSize)
	if info.Size == 0 {
		return nil, fmt.Errorf("it has %d bytes, less than one sector of %d: give it its size first (a file: with fallocate)", size, info.SectorSize)
	}
	maxIO, page := opts.MaxIO, os.Getpagesize()
	if maxIO == 0 {
		maxIO = defaultMaxIO
	}
	q, err := newQueue((maxIO + page - 1) / page * page)
	if err != nil {
		return nil, err
	}
	return &direct{info: info, fd: fd, readOnly: opts.ReadOnly, queue: q}, nil
}

// openDirect opens path with O_DIRECT. It looks before it opens because the
// opening of a pipe or a terminal has effects, or does not return.
func openDirect(path string, opts Options) (int, error) {
	var stat unix.Stat_t
	if err := retry(func() error { return unix.Stat(path, &stat) }); err != nil {
		return -1, err
	}
	block, err := kindOf(&stat)
	if err != nil {
		return -1, err
	}
	if !block {
		if err := refuseMemoryFS(path); err != nil {
			return -1, err
		}
	}
	flags := unix.O_RDWR
	if opts.ReadOnly {
		flags = unix.O_RDONLY
	}
	if opts.Sync {
		flags |= unix.O_DSYNC
	}
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Open(path, flags|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		return err
	})
	switch {
	case errors.Is(err, unix.EINVAL):
		return -1, errNoDirect(err)
	case errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("%w: it needs root or the group that owns the disk", err)
	case err != nil:
		return -1, err
	}
	return fd, nil
}

// errNoDirect says what to do about a file system without direct I/O.
func errNoDirect(cause error) error {
	const what = "the file system here offers no direct I/O, so that the page cache would answer instead of the disk; use a block device, or a file on ext4 or xfs"
	if cause == nil {
		return errors.New(what)
	}
	return fmt.Errorf("%s: %w", what, cause)
}

// refuseMemoryFS refuses tmpfs and ramfs. Since Linux 6.6 tmpfs accepts
// O_DIRECT; it still forgets at a reboot what it acknowledged.
func refuseMemoryFS(path string) error {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(path, &fs) }); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if uint32(fs.Type) == unix.TMPFS_MAGIC || uint32(fs.Type) == unix.RAMFS_MAGIC {
		return errors.New("the file is in memory (tmpfs) and would forget at a reboot what it acknowledged, and memory is no direct I/O; use a block device, or a file on ext4 or xfs")
	}
	return nil
}

// kindOf says whether stat is of a block device; anything but that and a
// regular file is refused.
func kindOf(stat *unix.Stat_t) (block bool, err error) {
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return true, nil
	case unix.S_IFREG:
		return false, nil
	case unix.S_IFDIR:
		return false, errors.New("it is a directory, neither a block device nor a regular file")
	}
	return false, errors.New("it is neither a block device nor a regular file")
}

// blockSector returns the sector size to use on a block device, and its logical
// block: the larger of logical and physical block unless want says otherwise. Physical blocks above
// 4096 bytes (volumes of some arrays) are written in parts of 4096: what has to
// be atomic is one logical block.
func blockSector(fd, want int) (sector, logical int, err error) {
	block, err := unix.IoctlGetUint32(fd, unix.BLKSSZGET)
	if err != nil {
		return 0, 0, fmt.Errorf("logical block size (BLKSSZGET): %w", err)
	}
	physical, err := unix.IoctlGetUint32(fd, unix.BLKPBSZGET)
	if err != nil {
		return 0, 0, fmt.Errorf("physical block size (BLKPBSZGET): %w", err)
	}
	if want == 0 && physical > smallSector {
		want = largeSector
	}
	return withLogical(int(block), want)
}

// withLogical gives the sector that chooseSector chooses, and the smallest that
// it could have chosen.
func withLogical(need, want int) (sector, logical int, err error) {
	if sector, err = chooseSector(need, want); err != nil {
		return 0, 0, err
	}
	logical, err = chooseSector(need, smallSector)
	if err != nil {
		logical, err = largeSector, nil // need is more than 512
	}
	return sector, logical, err
}

// fileSector returns the sector size to use on a regular file. What direct I/O
// needs there comes from statx(2), STATX_DIOALIGN, Linux 6.1; kernels and file
// systems that do not tell get 4096, which all of them accept.
func fileSector(fd, want int) (sector, logical int, err error) {
	var stat unix.Statx_t
	err = retry(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &stat)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("statx: %w", err)
	}
	if stat.Mask&unix.STATX_DIOALIGN == 0 {
		sector, err = chooseSector(smallSector, cmp.Or(want, largeSector))
		return sector, sector, err
	}
	if stat.Dio_offset_align == 0 {
		return 0, 0, errNoDirect(nil)
	}
	return withLogical(int(stat.Dio_offset_align), want)
}

// chooseSector returns want, or for 0 the smallest sector that is not less than
// need, the granularity of direct I/O.
func chooseSector(need, want int) (int, error) {
	if need > largeSector {
		return 0, fmt.Errorf("direct I/O needs blocks of %d bytes here, and more than 4096 are not supported", need)
	}
	if want == 0 {
		want = smallSector
		if need > smallSector {
			want = largeSector
		}
	}
	if want < need {
		return 0, fmt.Errorf("sectors of %d bytes were asked for, but direct I/O needs blocks of %d bytes here", want, need)
	}
	return want, nil
}

// retry calls f until it was not interrupted by a signal.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
