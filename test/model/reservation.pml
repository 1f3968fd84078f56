/* reservation.pml - takeover of a service by a proof for its storage alone (E5), with three nodes.
 *
 * The service is storage behind reservation keys, and an address that no LUN can fence. No clocks: every step may be
 * delayed for ever, and a REGISTER lands late, also after its host died (it is gone when that host counts as dead).
 * The grant is cluster/decide/services.go: endStorage (the former owner becomes pending, its fencing stands in the
 * base), endPending (only a node's proven end takes it from the list), award (a new term inherits the list).
 * The start is cluster/services mayStart and startable: storage first while somebody is pending, the rest when nobody is.
 * The handshake is what every way that reserves devices has to keep: a node says that it is about to register
 * (pr_open), then reads that it is not being fenced, then registers, and says that it is over when every REGISTER has returned; the
 * prover reads pr_open after the fencing was chosen, then preempts, then looks at the keys.
 * What must hold: one node at most can write, and one at most has the address.
 * ALONE: the owner does not preempt and look once more before it starts: the proof has to stand by itself.
 */
#ifndef TERMS
#define TERMS 3
#endif
#define NONE 3
byte owner = NONE, term;
bit released;              /* the present term's release was published */
bit pending[3], fencing[3], cleared[3], dead[3];
bit up[3], key[3], storage[3], address[3], free[3];   /* free: learned that nobody is pending */
byte open[3];              /* 0 no, 1 pr_open said, 2 not fenced read, 3 REGISTER in flight, 4 landed, 5 in flight and its daemon restarted, 6 see BUG_READFIRST */
byte looked[3];            /* the owner: 1 preempted, 2 verified */
byte proving[3];           /* of that node: 1 pr_open read as 0, 2 preempted */
byte knows[3], burned[3];
#define WRITES(i) (storage[i] && key[i] && up[i])
inline judge() { assert(WRITES(0) + WRITES(1) + WRITES(2) <= 1); assert(address[0] + address[1] + address[2] <= 1) }
#define NEXT(i) ((i+1)%3)
#define LAST(i) ((i+2)%3)
#ifdef BUG_RESTARTCLOSES
#define OPEN(i) (open[i] > 0 && open[i] < 5)
#else
#define OPEN(i) (open[i] > 0 && open[i] != 6)
#endif
#define NOBODY (!pending[0] && !pending[1] && !pending[2])
inline grant(i) {
  if
  :: owner != NONE && !released && !dead[owner] ->
#ifdef BUG_NOINHERIT
       pending[0] = 0; pending[1] = 0; pending[2] = 0;
#endif
#ifndef BUG_NEVERPENDING
       pending[owner] = 1
#else
       skip
#endif
  :: else ->
#ifdef BUG_RELEASECLEARS
       pending[0] = 0; pending[1] = 0; pending[2] = 0
#else
       skip
#endif
  fi;
  owner = i; term++; released = 0; printf("term %d to %d, pending %d%d%d\n", term, i, pending[0], pending[1], pending[2]) }

proctype Node(byte i) {
  do
#ifdef BUG_READFIRST
  :: d_step { up[i] && !key[i] && open[i] == 0 && !fencing[i] -> open[i] = 6 }
  :: d_step { up[i] && open[i] == 6 -> open[i] = 2 }
#else
  :: d_step { up[i] && !key[i] && open[i] == 0 -> open[i] = 1 }
  :: d_step { up[i] && open[i] == 1 -> open[i] = (fencing[i] -> 0 : 2) }
#endif
  :: d_step { up[i] && open[i] == 2 -> open[i] = 3 }
  :: d_step { open[i] == 3 -> printf("REGISTER of %d lands\n", i); key[i] = 1; open[i] = 4; judge() }
  :: d_step { open[i] == 5 -> printf("old REGISTER of %d lands\n", i); key[i] = 1; if :: up[i] -> skip :: else -> open[i] = 0 fi; judge() }
  :: d_step { up[i] && open[i] == 4 -> open[i] = 0 }
#ifdef RESTART
  :: d_step { up[i] && open[i] == 3 -> open[i] = 5 }
#endif
  :: d_step { up[i] && owner == i && knows[i] != term -> knows[i] = term; free[i] = 0 }
  :: d_step { up[i] && owner == i && knows[i] == term && !free[i] && NOBODY -> free[i] = 1 }
#ifdef ALONE
  :: d_step { up[i] && knows[i] > burned[i] && key[i] && !storage[i] -> printf("%d starts the storage\n", i); storage[i] = 1; judge() }
#else
  :: d_step { up[i] && knows[i] > burned[i] && key[i] && !storage[i] && looked[i] == 0 -> key[NEXT(i)] = 0; key[LAST(i)] = 0; looked[i] = 1 }
  :: d_step { looked[i] == 1 -> looked[i] = (key[NEXT(i)] || key[LAST(i)] -> 0 : 2) }
  :: d_step { up[i] && knows[i] > burned[i] && key[i] && !storage[i] && looked[i] == 2 -> printf("%d starts the storage\n", i); looked[i] = 0; storage[i] = 1; judge() }
#endif
#ifdef BUG_NOWAIT
  :: d_step { up[i] && knows[i] > burned[i] && !address[i] -> address[i] = 1; judge() }
#else
  :: d_step { up[i] && knows[i] > burned[i] && free[i] && !address[i] -> printf("%d starts the address\n", i); address[i] = 1; judge() }
#endif
  :: d_step { up[i] && address[i] -> address[i] = 0 }
  :: d_step { up[i] && storage[i] -> storage[i] = 0 }
  :: d_step { up[i] && !address[i] && !storage[i] && knows[i] > burned[i] -> printf("%d releases term %d\n", i, knows[i]); burned[i] = knows[i]; looked[i] = 0;
       if :: owner == i && knows[i] == term -> released = 1 :: else fi }
  :: d_step { up[i] -> printf("%d dies\n", i); up[i] = 0; looked[i] = 0; storage[i] = 0; address[i] = 0; knows[i] = 0; free[i] = 0; if :: open[i] != 3 && open[i] != 5 -> open[i] = 0 :: else fi }
  /* the register, and who proves */
  :: d_step { !up[i] && open[i] == 0 && !dead[i] -> printf("%d is dead\n", i); dead[i] = 1; pending[i] = 0; key[i] = 0 }
  :: d_step { !fencing[i] && owner == i -> fencing[i] = 1 }
#ifdef BUG_NOOPEN
  :: d_step { fencing[i] && proving[i] == 0 && !cleared[i] -> proving[i] = 1 }
#else
  :: d_step { fencing[i] && proving[i] == 0 && !cleared[i] && !OPEN(i) -> proving[i] = 1 }
#endif
  :: d_step { proving[i] == 1 && (key[NEXT(i)] || key[LAST(i)]) -> key[i] = 0; proving[i] = 2 }
#ifdef BUG_NOLOOK
  :: d_step { proving[i] == 1 -> proving[i] = 0; cleared[i] = 1 }
#endif
  :: d_step { proving[i] == 2 -> proving[i] = 0; if :: key[i] -> skip :: else -> printf("E5 of %d\n", i); cleared[i] = 1 fi }
  :: d_step { !fencing[i] && !dead[i] && owner != i && term < TERMS && (owner == NONE || released || dead[(owner == NONE -> i : owner)] || cleared[(owner == NONE -> i : owner)]) -> grant(i) }
  :: d_step { owner == i && released -> owner = NONE; released = 0;
#ifdef BUG_FREECLEARS
       pending[0] = 0; pending[1] = 0; pending[2] = 0
#endif
     }
  od
}
init { d_step { up[0] = 1; up[1] = 1; up[2] = 1 }; atomic { run Node(0); run Node(1); run Node(2) } }
