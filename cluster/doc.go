// Package cluster holds the words of the decision core: what can happen to a
// node (Event), what is to be done about it (Action), the state that all nodes
// agree on (State), what nodes say of themselves (Beat, Message), what
// administrators ask (Request) and are shown (View). It decides nothing itself.
//
// The decisions are made by the pure packages below: core is events in, actions
// out; decide makes the next state from the evidence; register agrees on it;
// liveness, lease and timing prove that a silent node has ended; placement says
// where a service goes. None of them does I/O, reads a clock or starts a
// goroutine, so that every decision can be replayed and every rule can be tested
// as a story.
package cluster
