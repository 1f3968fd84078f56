// Package emulated is a check of the comparison with the peers, on whole emulated
// machines: real kernels, a watchdog card that really resets, systemd and Debian's
// packages. Emulation makes every process dear, and so it slows those most who
// start most of them: it gives no figures, but has to show the same order.
package emulated
