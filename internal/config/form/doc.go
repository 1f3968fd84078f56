// Package form reads YAML against a shape, or says everything that is wrong with
// it at once.
//
// Reading is strict, because a key that is silently ignored is a service that is
// not protected: an unknown or repeated key, a wrong type, a missing or impossible
// value are each a Problem with file, line, column, the line itself with the
// place marked, and the nearest valid name or another remedy. Anchors, aliases,
// merge keys and tags are refused: what a line says shall stand on it.
//
// What a file may contain stands once, in tables of keys (a Shape): they drive
// the reader, the messages and the JSON Schema for editors.
package form
