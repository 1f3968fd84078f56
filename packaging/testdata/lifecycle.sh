#!/bin/sh
# The life of the packages on a machine: install, upgrade, refuse, remove, purge. It runs in a copy of this machine's file
# systems that a test has made, with the folder of the packages and the one of a newer version as arguments.
set -eu
packages=$1 newer=$2
fail() { echo "FAIL: $*"; exit 1; }
is() { [ "$@" ] || fail "not: $*"; }
refused() { # refused WORDS COMMAND...
	words=$1
	shift
	if "$@" >/tmp/refused 2>&1; then fail "$* was not refused"; fi
	grep -q "$words" /tmp/refused || { cat /tmp/refused; fail "$*: no word of: $words"; }
}

dpkg -i "$packages"/holdfast_*_amd64.deb "$packages"/holdfast-doc_*_all.deb
for f in /usr/bin/holdfast /usr/sbin/holdfastd /usr/sbin/holdfast-guard; do is -x $f; done
settled() { # settled FOLDER: what the scriptlets of both families do; where its zsh looks for completion
	for g in $groups; do getent group $g >/dev/null || fail "no group $g"; done
	for d in /run/holdfast /var/lib/holdfast /etc/holdfast; do is -d $d; done
	is "$(stat -c %a /etc/holdfast)" = 755
	is "$(stat -c %a /etc/holdfast/secrets)" = 700
	systemd-analyze verify /usr/lib/systemd/system/holdfast*.service 2>/tmp/verify || true
	! grep holdfast /tmp/verify || fail "units: $(cat /tmp/verify)"
	for f in bash-completion/completions/holdfast zsh/"$1"/_holdfast fish/vendor_completions.d/holdfast.fish; do is -s /usr/share/$f; done
}
command -v systemd-analyze >/dev/null || fail "no systemd-analyze"
groups="holdfast-read holdfast-operate holdfast-admin"
settled vendor-completions
holdfast version
holdfast status >/tmp/out 2>&1 && fail "a status without a cluster"
man -w holdfast.yaml >/dev/null || fail "no man page"
udevadm verify --help >/dev/null 2>&1 && udevadm verify /usr/lib/udev/rules.d/61-holdfast.rules
echo "ok: installed"

mkdir -p /run/holdfast/alpha
touch /run/holdfast/alpha/bound
dpkg -i "$newer"/holdfast_*_amd64.deb >/tmp/out
grep -q 'holdfast node upgrade' /tmp/out || fail "an upgrade does not say how to change over"
refused 'is a member of a cluster' dpkg -r holdfast
refused 'is a member of a cluster' dpkg -P holdfast
is -x /usr/sbin/holdfast-guard
is -d /etc/holdfast
echo "ok: upgraded, and not removed while bound"

cp /usr/bin/holdfast /tmp/holdfast.kept
printf '#!/bin/sh\necho "{\\"disk_format\\": 99}"\n' >/usr/bin/holdfast
refused 'writes quorum disks of format 99' dpkg -i "$packages"/holdfast_*_amd64.deb
cp /tmp/holdfast.kept /usr/bin/holdfast
echo "ok: no downgrade over a change of the format"

rm /run/holdfast/alpha/bound
touch /etc/holdfast/node.yaml
# A stop that fails is said, and in the journal.
mkdir -p /run/systemd/system /tmp/fake
printf '#!/bin/sh\ncase "$*" in *disable*) echo "Job failed."; exit 1 ;; esac\n' >/tmp/fake/systemctl
printf '#!/bin/sh\necho "$@" >>/tmp/journal\n' >/tmp/fake/logger
chmod +x /tmp/fake/*
PATH=/tmp/fake:$PATH dpkg -r holdfast 2>/tmp/out
rm -r /run/systemd
for f in out journal; do
	grep -q 'could not be stopped and disabled: Job failed' /tmp/$f || fail "$f: no word of a failed stop"
	grep -q 'holdfast-guard.service still runs' /tmp/$f || fail "$f: no word of a guard that runs on"
done
[ ! -e /usr/sbin/holdfast-guard ] || fail "dpkg -r leaves the guard"
is -e /etc/holdfast/node.yaml
is -e /etc/systemd/sleep.conf.d/50-holdfast.conf
dpkg -P holdfast holdfast-doc
[ ! -e /etc/holdfast ] || fail "purge leaves /etc/holdfast"
echo "ok: removed and purged"

for g in $groups; do groupdel $g; done
rpm --initdb
rpm -i --nodeps "$packages"/holdfast-0*.x86_64.rpm "$packages"/holdfast-doc-*.noarch.rpm
rpm -V --nodeps holdfast || fail "files differ from the package"
is -x /usr/sbin/holdfast-guard
settled site-functions
rpm -qc holdfast | grep -qx /etc/systemd/sleep.conf.d/50-holdfast.conf || fail "rpm: sleep.conf.d is no configuration file"
rpm -qd holdfast | grep -q /man8/holdfast.8 || fail "rpm: man pages are no documentation"
mkdir -p /run/holdfast/alpha
touch /run/holdfast/alpha/bound
rpm -U --nodeps "$newer"/holdfast-[0-9]*.x86_64.rpm >/tmp/out
grep -q 'holdfast node upgrade' /tmp/out || fail "an upgrade does not say how to change over"
cp /usr/bin/holdfast /tmp/holdfast.kept
printf '#!/bin/sh\necho "{\\"disk_format\\": 99}"\n' >/usr/bin/holdfast
refused 'writes quorum disks of format 99' rpm -U --nodeps --oldpackage "$packages"/holdfast-[0-9]*.x86_64.rpm
cp /tmp/holdfast.kept /usr/bin/holdfast
refused 'is a member of a cluster' rpm -e holdfast
is -x /usr/sbin/holdfast-guard
rm /run/holdfast/alpha/bound
rpm -e holdfast holdfast-doc
[ ! -e /usr/sbin/holdfast-guard ] || fail "rpm -e leaves the guard"
echo "ok: rpm"
