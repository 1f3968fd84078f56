// Package realtime makes a process punctual: locked memory, a real-time priority,
// no garbage collection, and no death by the OOM killer.
package realtime

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	rtPriority   = 50       // SCHED_RR, of 1 to 99
	niceFallback = -20      // where real-time scheduling is refused
	memoryCeil   = 64 << 20 // bytes of Go heap at which collecting starts after all
	oomNever     = "-1000"  // /proc/self/oom_score_adj
	onFault      = 4        // MCL_ONFAULT: lock what is touched, not what is reserved
)

// Take locks memory, loads the program into it, raises priorities and ends garbage collection. What
// the kernel refuses is returned in words, for status: the guard works without,
// only less surely under load. It is called before other threads matter: a new
// thread inherits the scheduling of the one that made it.
func Take() string {
	var refused []string
	try := func(what string, err error) error {
		if err != nil {
			refused = append(refused, fmt.Sprintf("%s: %v", what, err))
		}
		return err
	}
	_ = try("locked memory", lockMemory())
	_ = try("the program's own pages in memory", loadProgram("/proc/self/maps"))
	if try("real-time scheduling", everyThread(func(tid int) error {
		return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: rtPriority}, 0)
	})) != nil {
		_ = try("high priority instead", everyThread(func(tid int) error {
			return unix.Setpriority(unix.PRIO_PROCESS, tid, niceFallback)
		}))
	}
	_ = try("protection from the OOM killer", os.WriteFile("/proc/self/oom_score_adj", []byte(oomNever), 0))
	// The loops allocate nothing. What connections and notices leave behind is
	// collected if it ever becomes much, rather than killing the guard.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryCeil)
	return strings.Join(refused, "; ")
}

// lockMemory locks what is and will be touched. Under a limit it locks nothing:
// a later mapping beyond the limit would end the program. The limit does not hold
// for who has CAP_IPC_LOCK.
func lockMemory() error {
	free := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &free); err != nil && !mayLock() {
		return fmt.Errorf("lift the limit (LimitMEMLOCK=infinity in the unit): %w", err)
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | onFault)
}

// mayLock says whether this process has CAP_IPC_LOCK.
func mayLock() bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	return unix.Capget(&h, &d[0]) == nil && d[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}

// loadProgram brings every page of the program into memory and keeps it there. A
// page that is first needed when the root file system hangs would stop the thread
// that needs it, for good: the code of the reset runs once in a guard's life. Only
// what comes from files is loaded; the rest needs no file system.
func loadProgram(maps string) error {
	text, err := os.ReadFile(maps)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		begin, size, ok := fromFile(line)
		if !ok {
			continue
		}
		// mlock(2) loads what it locks, unlike mlockall with MCL_ONFAULT.
		if _, _, e := unix.Syscall(unix.SYS_MLOCK, begin, size, 0); e != 0 {
			return fmt.Errorf("lock %d bytes at %#x: %w", size, begin, e)
		}
	}
	return nil
}

// fromFile reads a line of /proc/PID/maps: "begin-end rwxp offset dev inode path".
func fromFile(line string) (begin, size uintptr, ok bool) {
	f := strings.Fields(line) // "/[aio]" is the kernel's own
	if len(f) < 6 || !strings.HasPrefix(f[5], "/") || f[5] == "/[aio]" || f[1][0] != 'r' {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	b, err := strconv.ParseUint(from, 16, 64)
	e, err2 := strconv.ParseUint(to, 16, 64)
	if err != nil || err2 != nil || e <= b {
		return 0, 0, false
	}
	return uintptr(b), uintptr(e - b), true
}

// rounds bounds how often everyThread looks for threads that it has not seen.
const rounds = 100

// everyThread does f to every thread of this process. A thread inherits from the
// one that makes it, which may not have been reached yet; so it looks again until
// it finds no new one.
func everyThread(f func(tid int) error) error {
	done := map[string]bool{}
	for range rounds {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		fresh := false
		for _, t := range tasks {
			if done[t.Name()] {
				continue
			}
			done[t.Name()], fresh = true, true
			tid, err := strconv.Atoi(t.Name())
			if err == nil {
				err = f(tid)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if !fresh {
			return nil
		}
	}
	return fmt.Errorf("threads come faster than they can be reached: %d so far", len(done))
}
