#!/usr/bin/env bash
# Installs what "make build" has made, and the files around it, below DESTDIR. It starts and enables nothing.
#   DESTDIR=/tmp/root PREFIX=/usr BIN=bin packaging/install.sh           programs, units, man pages, completion
#   DESTDIR=/tmp/root PREFIX=/usr BIN=bin packaging/install.sh --doc     the manual and the formats instead
# BIN is the folder of the programs. RUN is a holdfast that runs on this machine, for man pages and completion (BIN/holdfast
# unless the build is for another architecture). SOURCE_DATE_EPOCH, if set, is the date of every file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local} BIN=${BIN:-bin}
RUN=${RUN:-$BIN/holdfast}
usr=$DESTDIR$PREFIX

put() { install -D -m "$1" "$2" "$3"; }

# The conventional folders of systemd, udev and completion are below /usr or /usr/local alike.
put_units() {
  local unit
  for unit in packaging/systemd/*.service; do
    mkdir -p "$usr/lib/systemd/system"
    sed -e "s,@SBINDIR@,$PREFIX/sbin,g" -e "s,@BINDIR@,$PREFIX/bin,g" "$unit" >"$usr/lib/systemd/system/$(basename "$unit")"
    chmod 644 "$usr/lib/systemd/system/$(basename "$unit")"
  done
  put 644 packaging/sysusers/holdfast.conf "$usr/lib/sysusers.d/holdfast.conf"
  put 644 packaging/tmpfiles/holdfast.conf "$usr/lib/tmpfiles.d/holdfast.conf"
  put 644 packaging/udev/61-holdfast.rules "$usr/lib/udev/rules.d/61-holdfast.rules"
  put 644 packaging/firewalld/holdfast.xml "$usr/lib/firewalld/services/holdfast.xml"
  put 644 packaging/sleep.conf.d/50-holdfast.conf "$DESTDIR/etc/systemd/sleep.conf.d/50-holdfast.conf"
  put 644 packaging/magic/holdfast "$usr/share/holdfast/magic"
  put 644 packaging/monitoring/holdfast.rules.yml "$usr/share/holdfast/monitoring/holdfast.rules.yml"
  put 644 packaging/monitoring/holdfast.dashboard.json "$usr/share/holdfast/monitoring/holdfast.dashboard.json"
  put 644 packaging/monitoring/holdfast.icinga2.conf "$usr/share/holdfast/monitoring/holdfast.icinga2.conf"
  put 644 packaging/monitoring/holdfast.nagios.cfg "$usr/share/holdfast/monitoring/holdfast.nagios.cfg"
  put 644 packaging/monitoring/holdfast.zabbix.yaml "$usr/share/holdfast/monitoring/holdfast.zabbix.yaml"
  put 644 packaging/monitoring/holdfast.zabbix.conf "$usr/share/holdfast/monitoring/holdfast.zabbix.conf"
}

put_programs() {
  put 755 "$BIN/holdfast" "$usr/bin/holdfast"
  put 755 "$BIN/holdfastd" "$usr/sbin/holdfastd"
  put 755 "$BIN/holdfast-guard" "$usr/sbin/holdfast-guard"
}

put_texts() {
  local man=$usr/share/man doc=$usr/share/doc/holdfast
  mkdir -p "$man" "$usr/share/bash-completion/completions" "$usr/share/zsh/site-functions" "$usr/share/fish/vendor_completions.d"
  "$RUN" man "$man"
  find "$man" -type f -name '*.[578]' -exec gzip -9nf {} +
  "$RUN" completion bash >"$usr/share/bash-completion/completions/holdfast"
  "$RUN" completion zsh >"$usr/share/zsh/site-functions/_holdfast"
  "$RUN" completion fish >"$usr/share/fish/vendor_completions.d/holdfast.fish"
  put 644 packaging/copyright "$doc/copyright"
  put 644 packaging/lint/holdfast "$usr/share/lintian/overrides/holdfast"
  put 644 CHANGELOG.md "$doc/changelog"
  gzip -9nf "$doc/changelog"
}

put_doc() {
  local doc=$usr/share/doc/holdfast-doc
  put 644 packaging/copyright "$doc/copyright"
  put 644 CHANGELOG.md "$doc/changelog"
  gzip -9nf "$doc/changelog"
  put 644 packaging/lint/holdfast-doc "$usr/share/lintian/overrides/holdfast-doc"
  put 644 README.md "$doc/README.md"
  (cd docs && find . -type f -name '*.md' -print0 | while IFS= read -r -d '' f; do install -D -m 644 "$f" "$doc/$f"; done)
}

if [ "${1:-}" = --doc ]; then
  put_doc
else
  put_programs
  put_units
  put_texts
fi
if [ -n "${SOURCE_DATE_EPOCH:-}" ] && [ -n "$DESTDIR" ]; then
  find "$DESTDIR" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
fi
