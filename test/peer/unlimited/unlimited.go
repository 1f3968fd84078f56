// Package unlimited runs a program that insists on raising its limits where nobody may
// raise one, as in many containers that have no CAP_SYS_RESOURCE: sanlock ends there.
// The kernel tells it that this was done (seccomp(2)), and the limits stay what they
// are: with CAP_IPC_LOCK memory can be locked whatever they say.
package unlimited

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data of the number of the call, and of its third argument.
const (
	atNumber = 0
	atNew    = 16 + 2*8
	half     = 4
)

// filter answers prlimit64(anybody, any limit, not nil, anything) with success, and
// lets all else pass. glibc makes setrlimit(3) of it, and getrlimit(3) with nil.
func filter() []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// equal goes on where the loaded word is k, and else over so many steps.
	equal := func(k uint32, over uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: over, K: k}
	}
	give := func(v uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v} }
	return []unix.SockFilter{
		load(atNumber), equal(unix.SYS_PRLIMIT64, 4),
		load(atNew), equal(0, 3),
		load(atNew + half), equal(0, 1),
		give(unix.SECCOMP_RET_ALLOW),
		give(unix.SECCOMP_RET_ERRNO), // with the error number 0
	}
}

// Main becomes the program of args, with its arguments; it returns only what went wrong.
func Main(args []string) error {
	runtime.LockOSThread()
	steps := filter()
	program := unix.SockFprog{Len: uint16(len(steps)), Filter: &steps[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return fmt.Errorf("%s: %w", args[0], unix.Exec(args[0], args, os.Environ()))
}
