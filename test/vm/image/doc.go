// Package image makes what a machine of the rig boots: the kernel of the distribution and an initial file system with one
// static program as init, and whatever else a test puts there.
//
// The kernel is a package of the distribution, downloaded by test/setup.sh and unpacked here; nothing is installed. It is
// started as the ELF file inside its bzImage (the PVH entry), because emulating the decompression costs more than all the
// rest of the boot. The initial file system is an uncompressed cpio archive, written with u-root's cpio package, with a
// modules.dep for u-root's kmodule, which loads the modules inside.
//
// Everything is cached by the content of what it is made of, in a folder that may be removed at any time: HOLDFAST_VM_CACHE,
// else holdfast-vm in the user's cache folder.
package image
