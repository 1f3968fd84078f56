# A guard that is bound holds armed watchdogs: without its programs this node would reset.
for mark in /run/holdfast/bound /run/holdfast/*/bound; do
	[ -e "$mark" ] || continue
	echo "holdfast: refused: this node is a member of a cluster, and its watchdogs are armed. Nothing was removed." >&2
	echo "Take it out first: systemctl disable --now holdfast; its services move to other nodes, and it leaves cleanly." >&2
	exit 1
done
