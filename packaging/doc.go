// Package packaging is the home of what an installed Holdfast needs beside its
// three commands: service units, users and temporary folders, udev rules, ports,
// and the description of the distribution packages. README.md says what each
// folder is for; the package itself holds nothing but the tests.
package packaging
