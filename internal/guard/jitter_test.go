package guard

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/internal/guardwire"
	"github.com/holdfast-ha/holdfast/sbd/watchdog"
)

// jitterRole makes the test's binary play a part of the measurement of jitter.
const jitterRole = "HOLDFAST_GUARD_TEST_JITTER"

const (
	jitterTimeout = 5 * time.Second // of the watchdog
	jitterPeriod  = jitterTimeout / perTimeout
	jitterTime    = 20 * time.Second // of one measurement
	liveHeap      = 256 << 20        // bytes that the churning process keeps
	thrashFile    = 512 << 20        // bytes that are read here and there
	thrashMemory  = thrashFile / 4   // bytes of memory that are left for them
)

// BenchmarkFeedingJitter measures the longest time between two feeds of a watchdog
// of five seconds: by a bound guard, by a plain ticker in a process of its own, and
// by a plain ticker in a process that makes garbage as a busy daemon does, side by
// side. Every feed is stamped by the kernel when it is sent. With stress there are
// also four processes that only compute, and one that reads a file that does not
// fit into the memory of the cgroup in which all of them are.
func BenchmarkFeedingJitter(b *testing.B) {
	for _, stress := range []bool{false, true} {
		name := "idle"
		if stress {
			name = "stressed"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				j := newJitter(b)
				j.start(stress)
				<-time.After(jitterTime)
				for _, who := range []string{"guard", "ticker", "daemon"} {
					worst := j.worst(who)
					b.ReportMetric(float64(worst)/1e6, who+"-gap-ms")
					b.ReportMetric(float64(worst-jitterPeriod)/1e6, who+"-late-ms")
					if who == "guard" && worst >= jitterTimeout/10 {
						b.Errorf("the guard left its watchdog of %v alone for %v", jitterTimeout, worst)
					}
				}
				j.stop()
			}
			b.ReportMetric(0, "ns/op") // it is the same, whatever is measured
		})
	}
}

// jitter is a place to which watchdogs are fed, and the processes that feed.
type jitter struct {
	b        *testing.B
	dir      string
	listener *net.UnixListener
	conns    sync.WaitGroup
	children []*exec.Cmd
	cgroup   string

	mu  sync.Mutex
	fed map[string][]int64 // kernel time of every feed
}

func newJitter(b *testing.B) *jitter {
	b.Helper()
	dir, err := os.MkdirTemp("", "hfj")
	must(b, err)
	j := &jitter{b: b, dir: dir, fed: map[string][]int64{}}
	j.listener, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: j.path("power.sock"), Net: "unixpacket"})
	must(b, err)
	j.conns.Go(func() {
		for {
			c, err := j.listener.AcceptUnix()
			if err != nil {
				return
			}
			j.conns.Go(func() { j.serve(c) })
		}
	})
	return j
}

func (j *jitter) path(name string) string { return filepath.Join(j.dir, name) }

// serve is what a power emulator says to a guard, as far as one needs it that is
// never reset, and writes down when it is fed.
func (j *jitter) serve(c *net.UnixConn) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	if err != nil {
		j.b.Error(err)
		return
	}
	buf, oob := make([]byte, 4096), make([]byte, 256)
	device := ""
	for {
		n, oobn, _, _, err := c.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			return
		}
		if buf[0] != '{' {
			at := stampOf(oob[:oobn])
			j.mu.Lock()
			j.fed[device] = append(j.fed[device], at)
			j.mu.Unlock()
			continue
		}
		var q struct {
			Device string `json:"device"`
		}
		if json.Unmarshal(buf[:n], &q) == nil && q.Device != "" {
			device = q.Device
		}
		answer, _ := json.Marshal(map[string]any{
			"identity": device, "timeout_ns": int64(jitterTimeout), "magic_close": true,
			"boot_id": ident.UUID(thisBoot).String(), "host_uuid": ident.UUID{0x40}.String(),
		})
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// stampOf is the time that the kernel put on a packet when it was sent, ns.
func stampOf(oob []byte) int64 {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
		}
	}
	return 0
}

// worst is the longest time between two feeds.
func (j *jitter) worst(device string) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := j.fed[device]
	if len(all) < int(jitterTime/jitterPeriod)/2 {
		j.b.Fatalf("%s fed %d times in %v", device, len(all), jitterTime)
	}
	longest := time.Duration(0)
	for i := range all[1:] {
		if all[i] == 0 {
			j.b.Fatal("the kernel puts no time on packets of this socket")
		}
		longest = max(longest, time.Duration(all[i+1]-all[i]))
	}
	return longest
}

// start starts everybody, and returns once the guard is bound and its feeds count.
func (j *jitter) start(stress bool) {
	b := j.b
	b.Helper()
	disk, l := fileDisk(b)
	must(b, keys.Save(j.path("key")))
	s := &guardwire.Settings{
		Node: self, Name: "alpha", Cluster: clusterID, Layout: guardwire.Layout{NMax: l.Nmax, Sector: l.SectorSize},
		Disks: []guardwire.DiskSetting{{Path: disk, UUID: diskUUID(0)}}, Key: j.path("key"),
		Watchdogs: []guardwire.WatchdogSetting{{Device: "guard", Timeout: jitterTimeout}},
		Run:       j.dir, Emulator: j.path("power.sock"), Drain: 10 * time.Millisecond,
	}
	text, err := s.Marshal()
	must(b, err)
	must(b, os.WriteFile(j.path("guard.conf"), text, 0o600))
	if stress {
		j.makeCgroup()
	}
	j.child(role+"="+j.dir, "-config", j.path("guard.conf"))
	var c *guardwire.Client
	waitFor(b, "the guard's snapshot", func() bool {
		var err error
		c, err = guardwire.Dial(j.path(socketFile))
		return err == nil
	})
	p := promise()
	p.Lease.TMax, p.Lease.Class, p.Lease.M = 11*time.Second, cluster.WatchdogUnqualified, 3
	p.PetPeriod = jitterPeriod
	o := &guardwire.Claim{Inc: ident.Incarnation{N: 7, Boot: thisBoot}, Until: c.Snapshot().Now.Add(10 * time.Minute), Params: p}
	if e := (&running{rig: &rig{t: b}}).order(c, o); !e.OK {
		b.Fatalf("claim was refused: %s", e.Err)
	}
	must(b, c.Close())
	j.child(jitterRole+"=ticker", j.path("power.sock"))
	j.child(jitterRole+"=daemon", j.path("power.sock"), strconv.FormatBool(stress))
	if stress {
		for range 4 {
			j.child(jitterRole + "=spin")
		}
		j.child(jitterRole+"=thrash", j.path("thrash"))
	}
	waitFor(b, "everybody to feed", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.fed["guard"]) > 2 && len(j.fed["ticker"]) > 2 && len(j.fed["daemon"]) > 2
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.fed) // what was before the load was whole is not measured
}

func (j *jitter) child(entry string, args ...string) {
	exe, err := os.Executable()
	must(j.b, err)
	c := exec.Command(exe, args...)
	c.Env, c.Stderr = append(os.Environ(), entry), os.Stderr
	must(j.b, c.Start())
	j.children = append(j.children, c)
	if j.cgroup != "" {
		must(j.b, os.WriteFile(filepath.Join(j.cgroup, "cgroup.procs"), []byte(strconv.Itoa(c.Process.Pid)), 0))
	}
}

// makeCgroup makes the cgroup whose memory is short; without a controller the
// pressure is left out, and that is said.
func (j *jitter) makeCgroup() {
	name := filepath.Base(j.dir)
	dir, file := filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dir, file = filepath.Join("/sys/fs/cgroup", name), "memory.max"
	}
	const room = liveHeap*5/2 + thrashMemory // the garbage collector lets a heap double
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(room)), 0)
	}
	if err != nil {
		_ = unix.Rmdir(dir)
		j.b.Logf("no memory pressure: no cgroup with a memory controller can be made here (as root, with one mounted): %v", err)
		return
	}
	j.cgroup = dir
}

func (j *jitter) stop() {
	for _, c := range j.children {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	must(j.b, j.listener.Close())
	j.conns.Wait()
	if j.cgroup != "" {
		waitFor(j.b, "the cgroup to be empty", func() bool { return unix.Rmdir(j.cgroup) == nil })
	}
	must(j.b, os.RemoveAll(j.dir))
}

// playJitter plays a part until it is killed.
func playJitter(part string) int {
	args := os.Args[1:]
	var err error
	switch part {
	case "ticker":
		err = tick(args[0], part)
	case "daemon":
		if args[1] == "true" {
			go churn()
			go churn()
		}
		err = tick(args[0], part)
	case "spin":
		for x := uint64(1); x != 0; { // for ever: an odd number stays odd
			x *= 6364136223846793005
		}
	case "thrash":
		err = thrash(args[0])
	default:
		err = errors.New("unknown part")
	}
	fmt.Fprintln(os.Stderr, strings.TrimSpace(part+": "+err.Error()))
	return 1
}

// tick feeds a device as any program would.
func tick(socket, device string) error {
	d, err := watchdog.OpenEmulated(socket, "alpha", device, jitterTimeout)
	if err != nil {
		return err
	}
	for range time.Tick(jitterPeriod) {
		if err := d.Feed(); err != nil {
			return err
		}
	}
	return nil
}

// leaf is a small object with a pointer, of which a large live heap is made.
type leaf struct {
	next *leaf
	_    [48]byte
}

// churn keeps half of a live heap, and replaces it all the time.
func churn() {
	all := make([]*leaf, liveHeap/2/64)
	for i := 0; ; i++ {
		all[rand.IntN(len(all))] = &leaf{next: all[i%len(all)]}
		if i%1000 == 0 { // chains do not grow without end
			all[rand.IntN(len(all))] = nil
		}
		if l := all[i%len(all)]; l != nil {
			l.next = nil
		}
	}
}

// thrash reads a file that does not fit into memory, here and there.
func thrash(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	page := make([]byte, 1<<20)
	for range thrashFile / len(page) {
		if _, err := f.Write(page); err != nil {
			return err
		}
	}
	for {
		if _, err := f.ReadAt(page[:4096], rand.Int64N(thrashFile/4096)*4096); err != nil {
			return err
		}
	}
}
