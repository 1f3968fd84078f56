# Nothing goes on without its programs: a guard that is not bound, and a daemon that is no member's. One that cannot be
# stopped is named; the removal goes on, for nothing of it is bound.
complain() {
	echo "holdfast: $*" >&2
	logger -t holdfast -p daemon.err -- "holdfast: $*" 2>/dev/null || true
}
if [ -d /run/systemd/system ]; then
	said=$(systemctl --no-reload disable --now holdfast.service holdfastd.service holdfast-guard.service 2>&1) ||
		complain "the units could not be stopped and disabled: $said. What runs of them goes on without its files: systemctl status holdfastd holdfast-guard"
	for unit in holdfastd.service holdfast-guard.service; do
		! systemctl --quiet is-active "$unit" 2>/dev/null ||
			complain "$unit still runs after its stop, and watchdogs that it has armed stay armed: run systemctl stop $unit"
	done
fi
