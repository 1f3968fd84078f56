# A program that is older than the format on the quorum disks cannot work on them.
if command -v holdfast >/dev/null 2>&1; then
	have=$(holdfast version --json 2>/dev/null | sed -n 's/.*"disk_format": *\([0-9]*\).*/\1/p')
	if [ -n "$have" ] && [ "$have" -gt @DISK_FORMAT@ ]; then
		echo "holdfast: refused: the installed version writes quorum disks of format $have, this package knows formats up to @DISK_FORMAT@." >&2
		echo "A downgrade over a change of the format is not possible; nothing was changed. Install a version that knows format $have." >&2
		exit 1
	fi
fi
