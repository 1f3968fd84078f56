#!/bin/sh
# Installs what the integration tests and the demo need, on Debian and as root; elsewhere it says what is missing and goes
# on, and the tests that need it skip themselves with the same words; those of test/vm fail. It may run any number of
# times: it asks for the package lists only when something is missing, and changes nothing when nothing is.
set -u

say() { echo "setup: $*"; }

# One line per need: a program, the Debian package that brings it, and what it is for.
needs() {
	cat <<-'END'
	mkfs.ext4 e2fsprogs  file systems on the data disk
	mkfs.xfs  xfsprogs   file systems on the data disk
	ip        iproute2   network namespaces and addresses of emulated nodes
	losetup   util-linux one loop device per emulated node
	unshare   util-linux mount namespaces of tests
	nft       nftables   cutting the network between emulated nodes
	fuser     psmisc     who keeps a file system busy
	debootstrap debootstrap the Debian tree of emulated machines
	ipmitool  ipmitool   power through IPMI
	ipmi_sim  openipmi   a management controller to switch
	lintian   lintian    checking the packages
	rpmlint   rpmlint    checking the packages
	rpm       rpm        installing them
	man       man-db     reading the man pages
	file      file       knowing a quorum disk
	sbd       sbd        compatibility of the SBD area
	fence_sbd fence-agents messages and power through unchanged fence agents
	dbus-daemon dbus-daemon a bus for an emulated service manager
	podman    podman     containers under a member of a service
	runc      runc       what executes them
	virsh     libvirt-clients virtual machines under a member of a service
	libvirtd  libvirt-daemon a hypervisor in memory
	libvirt-driver-qemu libvirt-daemon-driver-qemu handing a running virtual machine over
	exportfs  nfs-kernel-server exports under a member of a service
	lvm       lvm2       volume groups under a member of a service
	iscsiadm  open-iscsi iSCSI sessions under a member of a service
	curl      curl       asking what an agent started whether it answers
	nginx     nginx-light a service under an unchanged OCF agent
	apache2   apache2-bin a service under an unchanged OCF agent
	tmux      tmux       looking at status in a terminal
	multipath multipath-tools reading the section that doctor --fix writes
	haproxy   haproxy    a service of the manual's examples
	initdb    postgresql a service under an unchanged OCF agent
	ocf-agents resource-agents unchanged OCF agents
	promtool  prometheus checking the alerting rules and the dashboard
	icinga2   icinga2-bin watching a takeover through holdfast check
	zabbix_agentd zabbix-agent watching a takeover through the Zabbix template
	spin      spin       searching the models of the protocol
	gcc       gcc        compiling what spin makes of them
	gencat    libc6-dev  the headers that it needs
	qemu-system-x86_64 qemu-system-x86 the virtual machines of test/vm
	xz        xz-utils   taking their kernel out of its package
	END
}

# Programs of the administrator are often missing in a user's search path, and those of a database server always.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)

here() {
	case $1 in
	libvirt-driver-qemu) ls /usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so >/dev/null 2>&1 ;;
	ocf-agents) [ -x /usr/lib/ocf/resource.d/heartbeat/Dummy ] ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}

missing=$(needs | while read -r program package purpose; do
	if ! here "$program"; then
		echo "$package"
		say "missing: $program (package $package), for $purpose" >&2
	fi
done | sort -u)

# The virtual machines of test/vm run a kernel of the distribution, and some of them its iSCSI initiator. Neither is
# installed on this machine: their packages are downloaded to where the rig looks for them.
fetch() {
	packages=${HOLDFAST_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/holdfast-vm}/packages
	for package in linux-image-[0-9]*.deb open-iscsi_*.deb libopeniscsiusr*.deb libisns*.deb; do
		# shellcheck disable=SC2086 # the pattern of a file name
		set -- "$packages"/$package
		[ -e "$1" ] || break
		package=
	done
	[ -n "$package" ] || return 0
	if ! command -v apt-get >/dev/null 2>&1 || [ "$(dpkg --print-architecture)" != amd64 ]; then
		say "the tests of test/vm need a kernel package of Debian for amd64 in $packages, and fail without it"
		return 0
	fi
	if ! apt-cache show linux-image-amd64 open-iscsi >/dev/null 2>&1; then
		apt-get -q update || say "apt-get update failed; trying with the lists that are here"
	fi
	kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	libraries=$(apt-cache depends open-iscsi | sed -n 's/.*Depends: \(lib\(isns\|openiscsiusr\)[^ ]*\)/\1/p')
	say "apt-get download $kernel open-iscsi" $libraries
	# shellcheck disable=SC2086 # one word per package
	if ! (mkdir -p "$packages" && cd "$packages" && apt-get -q download "$kernel" open-iscsi $libraries); then
		say "apt-get download failed: the tests of test/vm will fail"
	fi
}
fetch

if [ -z "$missing" ]; then
	say "everything is installed, nothing to do"
	exit 0
fi
# shellcheck disable=SC2086 # one word per package
set -- $missing
if [ "$(id -u)" -ne 0 ]; then
	say "not root, installing nothing; the tests that need the above skip themselves. As root: apt-get install $*"
	exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
	say "no apt-get on this system, installing nothing; please install by hand: $*"
	exit 0
fi

# What is installed for the tests is not to run by itself.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
say "apt-get update, then apt-get install $*"
apt-get -q update || say "apt-get update failed; trying with the lists that are here"
if ! apt-get -q install --yes --no-install-recommends "$@"; then
	say "apt-get install failed: the tests that need $* will skip themselves"
	exit 0
fi
say "installed $*"
