// Package controller is the management controllers of a simulated cluster: what
// each kind of them says of its machine.
package controller

// Kind is what a node's management controller does. It has power of its
// own, but for DiesWithNode.
type Kind uint8

// The kinds of controller.
const (
	Honest       Kind = iota // switches at once and says what is so
	Unreachable              // does not answer
	Hanging                  // takes the request, carries it out late, and never answers
	SaysOffOnce              // says off at the first reading, with the machine on; the request takes effect later
	SaysOff                  // says off, always, and switches nothing
	SaysOn                   // accepts the request and switches nothing
	DiesWithNode             // answers while the node has power, and not any more then
)

// Answers says that the controller can be talked to, while its machine is up or not.
func (k Kind) Answers(up bool) bool {
	return k != Unreachable && k != Hanging && (k != DiesWithNode || up)
}

// Says is whether it says off at a reading, after so many others of one attempt,
// when its machine is off, or is not.
func (k Kind) Says(off bool, readings int) bool {
	switch k {
	case SaysOff:
		return true
	case SaysOn:
		return false
	case SaysOffOnce:
		return off || readings == 0
	}
	return off
}
