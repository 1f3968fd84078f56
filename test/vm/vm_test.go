package vm_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/disk"
	"github.com/holdfast-ha/holdfast/test/vm/image"
	"github.com/holdfast-ha/holdfast/test/vm/lab"
	"github.com/holdfast-ha/holdfast/test/vm/machine"
	"github.com/holdfast-ha/holdfast/test/vm/network"
	"github.com/holdfast-ha/holdfast/test/vm/wire"
	"github.com/holdfast-ha/holdfast/test/vm/witness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := lab.Sweep(); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
	}
	os.Exit(m.Run())
}

// machines skips where no machines are wanted. Where all are, some tests run side by side; see lane.
func machines(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots virtual machines: run without -short, as make test does")
	}
	if all() {
		t.Parallel()
		lane(t)
	}
}

// all says that not only the short set is wanted.
func all() bool { return os.Getenv("HOLDFAST_VM") == "all" }

// whole skips where only the short set is wanted.
func whole(t *testing.T) {
	t.Helper()
	machines(t)
	if !all() {
		t.Skip("not of the short set: make vm runs it (HOLDFAST_VM=all)")
	}
}

// TestMachines boots two machines with a disk and a network that both have, and breaks each part once: what the rig says of
// a fault has to be what the machines see.
func TestMachines(t *testing.T) {
	machines(t)
	l := lab.Open(t, image.Content{})
	san := l.Disk("SHARED1", 8<<20)
	const shared = "/dev/disk/by-id/virtio-SHARED1"
	lan := l.Network("lan")
	var ms []*machine.Machine
	for i := 1; i <= 2; i++ {
		ms = append(ms, l.Machine(lab.Plan{
			Name: fmt.Sprintf("n%d", i), Number: i, Networks: []*network.Switch{lan}, Disks: []*disk.Disk{san},
			Watchdog: true,
		}))
	}
	l.PowerOn(ms...)
	ctx := l.Context(2 * time.Minute)
	// What one machine writes is what the other reads, and what the file has.
	block := make([]byte, 4096)
	witness.Block{Owner: 1, Number: 7}.Encode(block)
	put := wire.Request{Op: wire.Put, Args: []string{shared}, Data: block, Offset: 8192}
	ask := func(m *machine.Machine, r wire.Request) ([]byte, error) {
		w, err := m.Ask(ctx, r)
		return w.Output, err
	}
	if _, err := ask(ms[0], put); err != nil {
		t.Fatal(err)
	}
	get := wire.Request{Op: wire.Get, Args: []string{shared}, Length: 4096, Offset: 8192}
	if got, err := ask(ms[1], get); err != nil || !bytes.Equal(got, block) {
		t.Errorf("n2 reads %.32q, %v", got, err)
	}
	if err := san.Set("n1", disk.Fault{Error: syscall.EIO}); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(ms[0], put); err == nil {
		t.Error("a cut disk takes a write")
	}
	if _, err := ask(ms[1], put); err != nil {
		t.Errorf("a disk that is cut for n1 is cut for n2: %v", err)
	}
	if err := ms[0].Link(ctx, 0, false); err != nil {
		t.Fatal(err)
	}
	if err := await(ctx, func() error {
		carrier, err := ms[0].Read(ctx, "/sys/class/net/eth0/carrier")
		if err == nil && strings.TrimSpace(carrier) != "0" {
			err = fmt.Errorf("carrier %q", carrier)
		}
		return err
	}); err != nil {
		t.Errorf("a cable that was pulled: %v", err)
	}
	clockRate(t, ctx, ms[0])
	freezeAndReset(t, ctx, ms[1])
}

// clockRate: a machine's clock goes as fast as this one's. The kernel's own measurement of the processor's counter, which a
// busy host disturbs, must not decide that: leases would end too late.
func clockRate(t *testing.T, ctx context.Context, m *machine.Machine) {
	t.Helper()
	// What the line to the machine takes is between the two bounds of every reading.
	read := func() (least, most time.Time, guest time.Duration) {
		least = time.Now()
		text, err := m.Read(ctx, "/proc/uptime")
		most = time.Now()
		seconds, bad := strconv.ParseFloat(strings.Fields(text + " 0")[0], 64)
		if err = errors.Join(err, bad); err != nil {
			t.Fatal(err)
		}
		return least, most, time.Duration(seconds * float64(time.Second))
	}
	early, late, before := read()
	<-time.After(2 * time.Second)
	early2, late2, after := read()
	const tick = 20 * time.Millisecond // of /proc/uptime, both times
	passed := after - before
	if passed < (early2.Sub(late)-tick)*97/100 || passed > (late2.Sub(early)+tick)*103/100 {
		t.Errorf("%v passed for the machine, between %v and %v here", passed, early2.Sub(late), late2.Sub(early))
	}
}

// freezeAndReset: a frozen machine says nothing and goes on where it was; a reset one boots anew; one whose watchdog is no
// longer fed is reset by that.
func freezeAndReset(t *testing.T, ctx context.Context, m *machine.Machine) {
	t.Helper()
	first, err := m.AwaitBoot(ctx, 1)
	if err == nil {
		err = m.Freeze(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := m.Read(short, "/proc/uptime"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen machine answers: %v", err)
	}
	if err := m.Thaw(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Read(ctx, "/proc/uptime"); err != nil || m.Boots() != 1 {
		t.Errorf("thawed: %d boots, %v", m.Boots(), err)
	}
	if err := m.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	second, err := m.AwaitBoot(ctx, 2)
	if err != nil || second.ID == first.ID {
		t.Fatalf("boots %v and %v, %v", first, second, err)
	}
	if _, err := m.Ask(ctx, wire.Request{Op: wire.Module, Args: []string{"i6300esb", "heartbeat=3"}}); err != nil {
		t.Fatal(err)
	}
	id, err := m.Read(ctx, "/sys/class/watchdog/watchdog0/identity")
	if err != nil || strings.TrimSpace(id) != "i6300ESB timer" {
		t.Errorf("watchdog %q, %v", id, err)
	}
	armed := time.Now()
	if err := m.Write(ctx, "/dev/watchdog0", "1"); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"WATCHDOG", "RESET"} {
		if _, err := m.Await(ctx, event, armed); err != nil {
			t.Fatalf("a watchdog that nobody feeds: %v; %v", err, m.Events())
		}
	}
	if _, err := m.AwaitBoot(ctx, 3); err != nil {
		t.Error(err)
	}
}

// await polls until met returns nil.
func await(ctx context.Context, met func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := met()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not in time: %w", err)
		}
	}
}
