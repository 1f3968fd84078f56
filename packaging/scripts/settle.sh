# Users, folders, units and rules become known. Nothing is started and nothing is restarted: a running daemon and guard go
# on with the program that they were started from.
if command -v systemd-sysusers >/dev/null 2>&1; then systemd-sysusers holdfast.conf; fi
if command -v systemd-tmpfiles >/dev/null 2>&1; then systemd-tmpfiles --create holdfast.conf || true; fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
if command -v udevadm >/dev/null 2>&1; then udevadm control --reload >/dev/null 2>&1 || true; fi
for mark in /run/holdfast/bound /run/holdfast/*/bound; do
	[ -e "$mark" ] || continue
	echo "holdfast: the cluster goes on with the version that runs. Change over, one node at a time, with services left running:"
	echo "  holdfast node upgrade"
	break
done
