// Package packaging is the home of what an installed Holdfast needs beside its three commands: service units, users and
// temporary folders, udev rules, man pages, shell completion, dashboards, and the description of the distribution packages,
// all installed by one make target.
//
// The package holds no code. Of those files, udev/61-holdfast.rules gives quorum disks the name /dev/disk/by-holdfast/UUID, and
// magic/holdfast teaches them to file(1); the others do not exist yet: the commands are built into bin and run from there.
package packaging
