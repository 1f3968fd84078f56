package machine

import (
	"fmt"
	"strings"

	"github.com/holdfast-ha/holdfast/test/vm/wire"
)

// Spec says what a machine consists of.
type Spec struct {
	Name      string
	Kernel    string // file
	Initramfs string // file
	Modules   []string
	MemoryMiB int // 0: 256
	Cards     []Card
	Disks     []Disk
	Watchdog  bool   // an i6300esb, which resets the machine when it expires
	UUID      string // of its firmware; empty: none
	// Management gives it a card of its own, the last one, on which Host is this machine's loopback interface and nothing
	// else is.
	Management bool
	// Root is the file of a disk with a whole system, which the machine starts; it writes there. Empty: it stays in its
	// initial file system.
	Root  string
	Extra []string
}

// rootSerial is the serial number of the disk of Root.
const rootSerial = "ROOT"

// Card is a network card on one end of a pair of datagram sockets.
type Card struct {
	Address     string // with prefix length
	MAC         string
	Local, Peer string // sockets
}

// Disk is a virtio disk that an NBD server has, package disk's.
type Disk struct {
	Serial string // the guest finds it as /dev/disk/by-id/virtio-SERIAL
	Socket string
}

// The management network, which each machine has for itself: its own address there, and the one behind which this machine's
// loopback interface is, TCP and UDP, port by port.
const (
	Own  = "10.79.0.15/24"
	Host = "10.79.0.2"
)

// basic are the modules without which the rig has no machine.
func basic() []string {
	return []string{"virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "virtio_rng"}
}

// Modules lists what every machine's initial file system has to hold.
func Modules() []string { return append(basic(), "af_packet", "i6300esb", "softdog") }

// arguments is the command line of QEMU.
func (m *Machine) arguments() []string {
	s := m.Spec
	memory := s.MemoryMiB
	if memory == 0 {
		memory = 256
	}
	a := []string{
		"-name", s.Name, "-M", "q35", "-accel", "tcg,tb-size=128", "-cpu", "Nehalem", "-smp", "1", "-m", fmt.Sprint(memory),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-kernel", s.Kernel, "-initrd", s.Initramfs, "-append", s.commandLine(),
		"-device", "virtio-rng-pci",
		"-qmp", "unix:" + m.file("qmp") + ",server=on,wait=off",
		"-chardev", "socket,id=ctl,server=on,wait=off,path=" + m.file("ctl"),
		"-chardev", "file,id=log,append=on,path=" + m.Log(),
		"-chardev", "file,id=con,append=on,path=" + m.Console(),
		"-serial", "chardev:con", "-device", "virtio-serial-pci",
		"-device", "virtserialport,chardev=ctl,name=" + wire.Control,
		"-device", "virtserialport,chardev=log,name=" + wire.Log,
	}
	for i, c := range s.Cards {
		a = append(a,
			"-netdev", fmt.Sprintf("dgram,id=net%d,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", i, c.Local, c.Peer),
			"-device", fmt.Sprintf("virtio-net-pci,romfile=,netdev=net%d,mac=%s", i, c.MAC))
	}
	if s.Management {
		a = append(a, "-netdev", "user,id=management,ipv6=off,net=10.79.0.0/24,host="+Host, "-device", "virtio-net-pci,romfile=,netdev=management")
	}
	if s.UUID != "" {
		a = append(a, "-uuid", s.UUID)
	}
	for _, d := range s.Disks {
		a = append(a,
			"-blockdev", fmt.Sprintf("driver=nbd,node-name=%s,server.type=unix,server.path=%s,cache.direct=on", d.Serial, d.Socket),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,share-rw=on,serial=%s,werror=report,rerror=report", d.Serial, d.Serial)) // not: stop the machine
	}
	if s.Root != "" {
		a = append(a,
			"-blockdev", "driver=file,node-name="+rootSerial+",filename="+s.Root+",cache.direct=off",
			"-device", "virtio-blk-pci,drive="+rootSerial+",serial="+rootSerial)
	}
	if s.Watchdog {
		a = append(a, "-device", "i6300esb", "-action", "watchdog=reset")
	}
	return append(a, s.Extra...)
}

// commandLine is that of the kernel. What is switched off there costs boot time under emulation; panic=0 leaves a crashed
// machine to its watchdog.
func (s Spec) commandLine() string {
	var addresses []string
	for _, c := range s.Cards {
		addresses = append(addresses, c.Address)
	}
	if s.Management {
		addresses = append(addresses, Own)
	}
	words := []string{
		"console=ttyS0 quiet panic=0 clocksource=hpet tsc=unstable nolapic_timer no_timer_check mitigations=off nokaslr cryptomgr.notests net.ifnames=0",
		"random.trust_cpu=on uroot.initflags=systemd=true",
		wire.NameFlag + "=" + s.Name,
		wire.NetFlag + "=" + strings.Join(addresses, ","),
		wire.ModulesFlag + "=" + strings.Join(append(basic(), s.Modules...), ","),
	}
	if s.Root != "" {
		words = append(words, wire.RootFlag+"="+rootSerial)
	}
	return strings.Join(words, " ")
}
