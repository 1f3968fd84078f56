package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/storage/kind"
)

func diskChecks() []check {
	const s, l = "quorum disks", "reservations"
	return []check{
		{s, "there", diskThere},
		{s, "latency", latency},
		{s, "writable", writable},
		{s, "cache", real(cache)},
		{s, "paths", real(paths)},
		{s, "queueing", real(queueing)},
		{s, "polling", real(polling)},
		{s, "fast-io-fail", real(fastFail)},
		{s, "iscsi-recovery", real(recovery)},
		{l, "reservations", real(reservations)},
	}
}

func diskThere(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		switch {
		case d.Missing != "":
			found = append(found, fail(d.Path, "holdfast disk show "+d.Path, "it cannot be opened: %s", d.Missing))
		case d.Kind.Refused != "" && !(d.Kind.Local && f.Node.Emulated):
			found = append(found, fail(d.Path, "holdfast disk replace --help", "no quorum disk may stand here: %s", d.Kind.Refused))
		case !d.Stable && !f.Node.Emulated:
			found = append(found, warn(d.Path, "ls -l /dev/disk/by-id", "the device may have another name after a boot: write its name of /dev/disk/by-id into node.yaml and guard.conf"))
		case len(d.Kind.Notes) > 0 && !f.Node.Emulated:
			found = append(found, warn(d.Path, "holdfast disk show "+d.Path, "%s", strings.Join(d.Kind.Notes, "; ")))
		default:
			found = append(found, ok(d.Path, "%s", orWord(string(d.Kind.Kind), "there")))
		}
	}
	return found
}

// latency: what single reads take, against how long the node lives without a good
// cycle. A cycle is a write and a read, and several must fit into F.
func latency(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		if d.Missing != "" {
			continue
		}
		if d.ReadErr != "" {
			found = append(found, fail(d.Path, "holdfast disk show "+d.Path, "it cannot be read: %s", d.ReadErr))
			continue
		}
		if len(d.Reads) == 0 {
			found = append(found, unknown(d.Path, "holdfast disk show "+d.Path, "nothing was read from it"))
			continue
		}
		h := HistogramOf(d.Reads)
		switch text := fmt.Sprintf("%d reads: %s", len(d.Reads), h); {
		case f.Node.F == 0:
			found = append(found, ok(d.Path, "%s", text))
		case h.Most > f.Node.F/2:
			found = append(found, fail(d.Path, "iostat -x 1", "%s; the slowest takes more than half of the %s that this node lives without a beat", text, seconds(f.Node.F)))
		case h.Most > f.Node.F/8:
			found = append(found, warn(d.Path, "iostat -x 1", "%s; the slowest takes more than an eighth of the %s that this node lives without a beat", text, seconds(f.Node.F)))
		default:
			found = append(found, ok(d.Path, "%s, of %s that this node lives without a beat", text, seconds(f.Node.F)))
		}
	}
	return found
}

// Histogram is how long requests took.
type Histogram struct {
	Half, Most time.Duration // half of them took at most this; the slowest
	Buckets    []int         // below 1, 2, 5, 10, 20, 50, 100, 200, 500 ms, 1 s, and longer
}

// bounds are the upper bounds of the buckets but the last.
func bounds() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{ms, 2 * ms, 5 * ms, 10 * ms, 20 * ms, 50 * ms, 100 * ms, 200 * ms, 500 * ms, time.Second}
}

// HistogramOf sorts durations into buckets; there must be one at least.
func HistogramOf(took []time.Duration) Histogram {
	sorted := slices.Sorted(slices.Values(took))
	h := Histogram{Half: sorted[(len(sorted)-1)/2], Most: sorted[len(sorted)-1], Buckets: make([]int, len(bounds())+1)}
	for _, t := range sorted {
		i, _ := slices.BinarySearch(bounds(), t)
		h.Buckets[i]++
	}
	return h
}

// String names the buckets that hold something.
func (h Histogram) String() string {
	var parts []string
	for i, n := range h.Buckets {
		switch {
		case n == 0:
		case i < len(bounds()):
			parts = append(parts, fmt.Sprintf("%d up to %v", n, bounds()[i]))
		default:
			parts = append(parts, fmt.Sprintf("%d longer", n))
		}
	}
	return strings.Join(parts, ", ") + "; the slowest " + h.Most.Round(10*time.Microsecond).String()
}

// writable: the guard writes a beat all the time, and says when it cannot.
func writable(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		if d.ReadOnly {
			found = append(found, fail(d.Path, "blockdev --setrw "+d.Path, "it is read-only here: look at the array's mapping first"))
		}
	}
	if f.Cluster.Status == nil {
		return found
	}
	for _, d := range f.Cluster.Status.Disks {
		switch {
		case d.Error != "":
			found = append(found, fail(d.Path, "holdfast disk show "+d.Path, "the guard cannot beat on it: %s", d.Error))
		case f.Node.F > 0 && d.Latency.Duration() > f.Node.F/2:
			found = append(found, warn(d.Path, "iostat -x 1", "this node's latest beat took %s", seconds(d.Latency.Duration())))
		default:
			found = append(found, ok(d.Path, "this node's latest beat was written and read back in %s", seconds(d.Latency.Duration())))
		}
	}
	return found
}

// cache: each beat waits until it is on the medium.
func cache(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		switch {
		case d.Missing != "" || d.Cache == "":
		case d.Cache == "write back" && !d.FUA:
			found = append(found, warn(d.Path, "cat /sys/block/*/queue/write_cache", "it has a cache that forgets when its power fails, and flushes all of it for every beat: let the array's cache be write-through, or protected, for this LUN"))
		case d.Cache == "write back":
			found = append(found, ok(d.Path, "its cache forgets when its power fails; beats go around it"))
		default:
			found = append(found, ok(d.Path, "no cache that forgets"))
		}
	}
	return found
}

func paths(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		if d.Kind.Kind != kind.Multipath {
			continue
		}
		var bad []string
		for _, w := range d.Ways {
			if !w.Works {
				bad = append(bad, w.Device+" ("+w.State+")")
			}
		}
		switch {
		case len(bad) > 0:
			found = append(found, warn(d.Path, "multipath -ll "+d.Map, "of %d paths %s cannot be used", len(d.Ways), strings.Join(bad, ", ")))
		case len(d.Ways) < 2:
			found = append(found, warn(d.Path, "multipath -ll "+d.Map, "one path only: when that fails, the disk is gone"))
		default:
			found = append(found, ok(d.Path, "%d paths, all in use", len(d.Ways)))
		}
	}
	return found
}

// ownSection is the file that is Holdfast's own in the configuration of multipath.
const ownSection = "/etc/multipath/conf.d/holdfast.conf"

// queueing: a disk without paths must say so. Requests that are held back until a
// path returns keep the node from learning that its disk is gone, and land when it
// does.
func queueing(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		switch {
		case d.Kind.Kind != kind.Multipath:
		case d.Queueing == "":
			found = append(found, unknown(d.Path, "multipathd show maps json", "what happens to its requests when no path works is not known"))
		case d.Queueing == "off":
			found = append(found, ok(d.Path, "without a path its requests fail at once"))
		default:
			found = append(found, fail(d.Path, "holdfast doctor --fix", "without a path its requests are held back (%s): this node does not learn that the disk is gone, and what it wrote lands when a path returns; it needs no_path_retry fail", d.Queueing).
				with(f.multipathSection()))
		}
	}
	return found
}

// leastPolling: paths are checked four times within F.
func (f *Facts) leastPolling() time.Duration {
	return max(time.Second, (f.Node.F / 4).Truncate(time.Second))
}

func (f *Facts) overMultipath() bool {
	return slices.ContainsFunc(f.Disks, func(d Disk) bool { return d.Kind.Kind == kind.Multipath })
}

// polling: how soon a path that returns is used again.
func polling(f *Facts) []Finding {
	p := &f.Paths
	switch {
	case !f.overMultipath():
		return nil
	case !p.Known:
		return list(unknown("", "multipathd show config local", "multipathd does not say how often it checks the paths"))
	case f.Node.F == 0 || p.Polling <= f.leastPolling():
		return list(ok("", "paths are checked every %s", seconds(p.Polling)))
	}
	return list(warn("", "holdfast doctor --fix", "paths are checked every %s: one that returns is used late; %s is a quarter of what this node lives without a beat", seconds(p.Polling), seconds(f.leastPolling())).
		with(f.multipathSection()))
}

// fastFailMost is how long requests on a dead Fibre Channel port may wait, in
// seconds.
const fastFailMost = 2

// fastFail: requests that wait for a port of the fabric keep a disk from failing
// over to its other path.
func fastFail(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		worst, has := 0, false
		for _, w := range d.Ways {
			if w.FastFail == "" {
				continue
			}
			n, err := strconv.Atoi(w.FastFail)
			if err != nil {
				n = 1 << 20 // off: the port's own dev_loss_tmo, minutes
			}
			worst, has = max(worst, n), true
		}
		switch {
		case !has:
		case worst <= fastFailMost:
			found = append(found, ok(d.Path, "requests on a dead port fail after %d s", worst))
		default:
			word := strconv.Itoa(worst) + " s"
			if worst == 1<<20 {
				word = "minutes (off)"
			}
			found = append(found, warn(d.Path, "holdfast doctor --fix", "requests on a dead port wait for %s before the other path is tried; fast_io_fail_tmo should be %d", word, fastFailMost).
				with(f.multipathSection()))
		}
	}
	return found
}

// multipathSection is Holdfast's own section for all quorum disks.
func (f *Facts) multipathSection() *Change {
	var b strings.Builder
	b.WriteString(made + "# For the quorum disks: requests fail at once where no path works, so that the node learns it.\n")
	if f.Node.F > 0 && f.Paths.Known && f.Paths.Polling > f.leastPolling() {
		n := int(f.leastPolling() / time.Second)
		fmt.Fprintf(&b, "defaults {\n\tpolling_interval %d\n\tmax_polling_interval %d\n}\n", n, n)
	}
	var kinds []string
	for _, d := range f.Disks {
		slow := slices.ContainsFunc(d.Ways, func(w Way) bool {
			n, err := strconv.Atoi(w.FastFail)
			return w.FastFail != "" && (err != nil || n > fastFailMost)
		})
		if k := d.Vendor + "\x00" + d.Model; slow && d.Vendor != "" && !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) > 0 {
		b.WriteString("devices {\n")
		for _, k := range kinds {
			vendor, model, _ := strings.Cut(k, "\x00")
			fmt.Fprintf(&b, "\tdevice {\n\t\tvendor %q\n\t\tproduct %q\n\t\tfast_io_fail_tmo %d\n\t}\n", "^"+vendor, "^"+model, fastFailMost)
		}
		b.WriteString("}\n")
	}
	b.WriteString("multipaths {\n")
	for _, d := range f.Disks {
		if d.WWID != "" {
			fmt.Fprintf(&b, "\tmultipath {\n\t\twwid %q\n\t\tno_path_retry fail\n\t}\n", d.WWID)
		}
	}
	b.WriteString("}\n")
	again := [][]string{{"multipathd", "reconfigure"}}
	return &Change{
		Text:  "a multipath section for the quorum disks: no_path_retry fail, and where needed polling_interval (for all maps) and fast_io_fail_tmo (for all LUNs of the array)",
		Files: []Edit{{Path: ownSection, Text: b.String()}}, Run: again, Back: again,
	}
}

// recovery: how long an iSCSI session that is broken holds requests back.
func recovery(f *Facts) []Finding {
	var found []Finding
	for _, d := range f.Disks {
		for _, w := range d.Ways {
			if w.Session == "" {
				continue
			}
			most := max(1, int(f.Node.F/time.Second))
			if len(d.Ways) > 1 { // another path should get its turn within F
				most = max(1, most/2)
			}
			on := d.Path + " by " + w.Device
			n, err := strconv.Atoi(w.Recovery)
			switch {
			case err != nil:
				found = append(found, unknown(on, "iscsiadm -m session -P 3", "how long a broken session holds requests back is not known"))
			case f.Node.F == 0 || n > 0 && n <= most:
				found = append(found, ok(on, "a broken session holds requests back for %d s", n))
			default:
				found = append(found, fail(on, "holdfast doctor --fix", "a broken session holds requests back for %d s; this node lives for %s without a beat, so that %d s is right", n, seconds(f.Node.F), most).
					with(sessionChange(&w, most)))
			}
		}
	}
	return found
}

func sessionChange(w *Way, most int) *Change {
	c := &Change{
		Text:  fmt.Sprintf("the iSCSI session of %s gives up after %d s, now and after every login", w.Device, most),
		Files: []Edit{{Path: "/sys/class/iscsi_session/" + w.Session + "/recovery_tmo", Text: strconv.Itoa(most) + "\n", Value: true}},
	}
	if w.Target == "" {
		return c
	}
	record := func(value string) [][]string {
		argv := []string{"iscsiadm", "-m", "node", "-T", w.Target}
		if w.Portal != "" {
			argv = append(argv, "-p", w.Portal)
		}
		return [][]string{append(argv, "-o", "update", "-n", "node.session.timeo.replacement_timeout", "-v", value)}
	}
	c.Run, c.Back = record(strconv.Itoa(most)), record(w.Recovery)
	return c
}

// reservations: LUNs that are to guard a service by them.
func reservations(f *Facts) []Finding {
	var found []Finding
	for _, text := range f.Guards {
		found = append(found, warn("", "holdfast config export", "%s", text))
	}
	for _, l := range f.LUNs {
		on := l.Service + " " + l.Device
		if len(l.Silent) > 0 && l.Problem == "" {
			found = append(found, warn(on, "multipath -ll", "no answer by %s: no key is registered there, and until one is, writes by it fail", strings.Join(l.Silent, ", ")))
		}
		switch {
		case l.Problem != "":
			found = append(found, fail(on, "sg_persist --in --report-capabilities "+l.Device, "persistent reservations cannot be read: %s", l.Problem))
		case !l.Persisting:
			found = append(found, warn(on, "sg_persist --in --report-capabilities "+l.Device, "the array forgets registrations when it loses power (no APTPL): after that every node may write until they are made anew"))
		case l.Held:
			found = append(found, ok(on, "reserved, %d registrations, which outlive a loss of power", l.Keys))
		default:
			found = append(found, ok(on, "takes reservations, and keeps them over a loss of power"))
		}
	}
	return found
}
