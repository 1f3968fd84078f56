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

// Take locks memory, raises priorities and ends garbage collection. What
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
	if try("real-time scheduling", eachThread(func(tid int) error {
		return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: rtPriority}, 0)
	})) != nil {
		_ = try("high priority instead", eachThread(func(tid int) error {
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
// a later mapping beyond the limit would end the program.
func lockMemory() error {
	free := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &free); err != nil {
		return err
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | onFault)
}

// eachThread does f to every thread of this process.
func eachThread(f func(tid int) error) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err == nil {
			err = f(tid)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}
