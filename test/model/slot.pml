/* slot.pml - two machines with one node's identity claim incarnations in one slot.
 *
 * What is modelled: cluster/slot (Foreign, Rival), cluster/core/lifecycle.go (otherMachine), progress.go (claim) and
 * cluster/decide (admit: a newer incarnation that has joined proves the end of the one before it, E2).
 * A machine may stop between what it has read and its claim, and between that and its first beat, and boot at any time.
 * One that is bound may go on without the disks, by the consent of the others. A boot takes longer than a claim may: the
 * daemon's permission lapses, or the watchdogs end a guard that was bound and does not get on. SLOWCLAIM drops that.
 * That silence proves the end of the incarnation whose beat stands in the slot is lease.pml's and takeover.pml's: here an
 * incarnation that has ended may be known to have, and one that has not never is.
 * What must hold: whoever is let in as the newer incarnation of the node, the one before it has ended.
 *
 * LAST bounds the incarnation numbers, BOOTS those of each machine.
 */
#ifndef LAST
#define LAST 6
#endif
#ifndef BOOTS
#define BOOTS 4
#endif
#define NOBODY 2

byte slotN = 1, slotBy = NOBODY;   /* the beat that stands: its number, and the machine that wrote it */
byte joinN = 1, joinBy = NOBODY;   /* the incarnation that has joined last */
byte dead = 1;                     /* the highest number that is known to be dead */
byte bound[3];                     /* the incarnation that a machine's guard is bound to; 0: none. The third is a machine of before. */
byte next[2];                      /* the number that a machine is about to claim; 0: none */
bool beats[2];                     /* it has beaten as what it is bound to */

#define OVER(by, n) (bound[by] != n)
#ifdef BUG_NORIVAL
#define RIVAL 0
#endif
#ifdef BUG_SAMENUMBER
#define RIVAL (dead < joinN && slotN == joinN && slotBy != joinBy)
#endif
#ifndef RIVAL
#define RIVAL (dead < joinN && (slotN != joinN || slotBy != joinBy) && slotN <= joinN)
#endif
#ifdef BUG_FOREIGN
#define FOREIGN 0
#else
#define FOREIGN (slotBy != me && dead < slotN && !OVER(slotBy, slotN))
#endif

/* What stands was never let in: another may have been overwritten in the slot that beats, or will. Nobody consents to
 * its living on without the disks, so it ends, or is seen, within its lease and the time of its watchdogs. */
#ifdef BUG_STRANGER
#define STRANGER 0
#else
#define STRANGER (slotN > joinN && slotN > dead && bound[1-me] != 0)
#endif

proctype Machine(byte me) {
  byte boots = 0;
end:
  do
  /* it reads the slot and the register */
  :: d_step { bound[me] == 0 && next[me] == 0 && boots < BOOTS && !RIVAL && !FOREIGN && !STRANGER ->
       next[me] = (slotN > joinN -> slotN : joinN) + 1;
       if :: next[me] > LAST -> next[me] = 0; boots = BOOTS :: else -> printf("%d reads %d of %d in the slot, and that %d of %d has joined\n", me, slotN, slotBy, joinN, joinBy) fi }
  :: d_step { next[me] != 0 && bound[me] == 0 -> bound[me] = next[me]; next[me] = 0; beats[me] = false; printf("%d claims %d\n", me, bound[me]) }
  /* it beats, now and then */
  :: d_step { bound[me] != 0 && (slotN != bound[me] || slotBy != me) -> slotN = bound[me]; slotBy = me; beats[me] = true; printf("%d beats as %d\n", me, slotN) }
  /* it ends, and boots */
  :: d_step { boots < BOOTS -> bound[me] = 0; next[me] = 0; boots++; printf("%d boots\n", me);
#ifndef SLOWCLAIM
       next[1-me] = 0; if :: !beats[1-me] -> bound[1-me] = 0 :: else fi
#endif
     }
  od
}

proctype Cluster() {
end:
  do
  :: d_step { slotN > joinN && slotN > dead ->
       printf("%d of %d is let in\n", slotN, slotBy);
       assert(OVER(joinBy, joinN));
       joinN = slotN; joinBy = slotBy }
  /* its end is proven by whatever proves it; nothing proves what is not so */
  :: d_step { dead < joinN && OVER(joinBy, joinN) -> dead = joinN; printf("%d is known to be dead\n", dead) }
  od
}

init { atomic { run Machine(0); run Machine(1); run Cluster() } }
