# Nothing goes on without its programs: a guard that is not bound, and a daemon that is no member's. One that cannot be
# stopped is named; the removal goes on, for nothing of it is bound.
if [ -d /run/systemd/system ]; then
	if ! said=$(systemctl --no-reload disable --now holdfast.service holdfastd.service holdfast-guard.service 2>&1); then
		words="holdfast: the units could not be stopped and disabled: $said. What runs of them goes on without its files: systemctl status holdfastd holdfast-guard"
		echo "$words" >&2
		logger -t holdfast -p daemon.err -- "$words" 2>/dev/null || true
	fi
	for unit in holdfastd.service holdfast-guard.service; do
		if systemctl --quiet is-active "$unit" 2>/dev/null; then
			words="holdfast: $unit still runs after its stop; systemctl stop $unit, or the watchdogs that it has armed stay armed"
			echo "$words" >&2
			logger -t holdfast -p daemon.err -- "$words" 2>/dev/null || true
		fi
	done
fi
