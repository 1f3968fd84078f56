#!/usr/bin/env bash
# Builds the packages into packages/: holdfast for each architecture and holdfast-doc, as .deb and .rpm, and the bill of
# materials. Two runs on one commit give the same bytes: the date of everything is the commit's.
#   packaging/build.sh [amd64 arm64]      KINDS=deb leaves the other kind out, COMPRESSION=gzip is fast, and none faster with KINDS=deb
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
GO=${GO:-go}
out=${OUT:-packages}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
TZ=UTC LC_ALL=C
export SOURCE_DATE_EPOCH TZ LC_ALL
umask 022
# A tag is a version; between tags the commit's day and name follow the last one, and "~" sorts it before the next.
if [ -z "${PACKAGE_VERSION:-}" ]; then
  if tag=$(git describe --tags --exact-match 2>/dev/null); then
    PACKAGE_VERSION=${tag#v}
  else
    PACKAGE_VERSION="0.0.0~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).$(git rev-parse --short=12 HEAD)"
  fi
fi
export PACKAGE_VERSION
archs=("$@")
[ ${#archs[@]} -gt 0 ] || archs=(amd64 arm64)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out"
mkdir -p "$out"
"$GO" build -modfile=tools/packages/go.mod -o "$work/nfpm" github.com/goreleaser/nfpm/v2/cmd/nfpm
"$GO" run ./packaging/build scripts "$work/scripts"
export SCRIPTS=$work/scripts

# The entry that the tools of both families want; what changed for users is in CHANGELOG.md.
cat >"$work/changes.yaml" <<EOF
- semver: $PACKAGE_VERSION-1
  date: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  packager: Holdfast developers <holdfast@holdfast-ha.example>
  deb: {urgency: medium, distributions: [unstable]}
  changes:
    - note: What changed for users is in CHANGELOG.md.
EOF

# The documentation of a staged tree, one line of nfpm's contents for each file.
documents() { # documents STAGE
  (cd "$1" && find usr/share \( -path "usr/share/man/*" -o -path "usr/share/doc/*" \) -type f | LC_ALL=C sort |
    sed -e "s|.*|  - {src: \"$1/&\", dst: \"/&\", type: doc, packager: rpm}|")
}

pack() { # pack DESCRIPTION STAGE
  local kind
  documents "$2" >"$work/documents"
  sed -e "s,\${ARCH},${ARCH:-},g" -e "s,\${STAGE},$2,g" -e "s,\${SCRIPTS},$SCRIPTS,g" \
    -e "s,\${CHANGES},$work/changes.yaml,g" -e "s,\${PACKAGE_VERSION},$PACKAGE_VERSION,g" -e "s,compression: xz,compression: ${COMPRESSION:-xz}," \
    -e "/# RPM marks documentation/r $work/documents" "$1" >"$work/description.yaml"
  for kind in ${KINDS:-deb rpm}; do
    "$work/nfpm" package --config "$work/description.yaml" --packager "$kind" --target "$out/" >"$work/log" || { cat "$work/log" >&2; return 1; }
  done
}

for ARCH in "${archs[@]}"; do
  export ARCH STAGE=$work/stage-$ARCH
  make --no-print-directory -s programs GOARCH="$ARCH" BIN="$work/bin-$ARCH" VERSION="$PACKAGE_VERSION"
  DESTDIR=$STAGE PREFIX=/usr BIN=$work/bin-$ARCH RUN=$work/bin-$("$GO" env GOHOSTARCH)/holdfast
  export DESTDIR PREFIX BIN RUN
  if [ ! -x "$RUN" ]; then
    make --no-print-directory -s programs GOARCH="$("$GO" env GOHOSTARCH)" BIN="$(dirname "$RUN")" VERSION="$PACKAGE_VERSION"
  fi
  packaging/install.sh
  pack packaging/nfpm/holdfast.yaml "$STAGE"
  "$GO" run ./packaging/build sbom "$PACKAGE_VERSION" "$STAGE"/usr/bin/holdfast "$STAGE"/usr/sbin/holdfastd "$STAGE"/usr/sbin/holdfast-guard \
    >"$out/holdfast_${PACKAGE_VERSION}_$ARCH.spdx.json"
done
DESTDIR=$work/stage-doc
packaging/install.sh --doc
pack packaging/nfpm/holdfast-doc.yaml "$DESTDIR"
(cd "$out" && sha256sum -- * >SHA256SUMS)
ls -l "$out"
