# Nothing goes on without its programs: a guard that is not bound, and a daemon that is no member's.
if [ -d /run/systemd/system ]; then systemctl --no-reload disable --now holdfast.service holdfastd.service holdfast-guard.service >/dev/null 2>&1 || true; fi
