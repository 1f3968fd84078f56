/* lease.pml - the lease and the proof by time over three quorum disks, each with its own pace.
 *
 * The node (cluster/lease CycleCompleted, internal/guard/worker.go): a beat per disk, stamped before its write is
 * issued; the lease counts from the second newest stamp of the three (quorum.KthLargest).
 * The observer (cluster/liveness Saw, begin, Judge): per disk the completion of the read that first showed the beat;
 * a round judges all disks at one instant, wants a majority that stood still for W, and then a read of each, issued
 * after that instant, that shows no change; any change anywhere ends the round.
 * What must hold: a proof stands only when the watchdogs have reset the node.
 *
 * F lease, T watchdog, W wait, in ticks. DUAL: two watchdogs fed in turn with a check before each (internal/guard
 * feeder.go); default: check and feed are one step, which leaves the logic of the disks alone.
 */
#ifndef F
#define F 1
#endif
#ifndef T
#define T 2
#endif
#ifndef W
#define W (F+T)
#endif
#define OVER (F+1)
bit up = 1, proven;
byte dog = T;
#ifdef DUAL
byte dog2 = T, feed;
#endif
byte beat[3];              /* 0 none, 1 issued, 2 on the disk and not completed */
byte since[3];             /* age of that beat, from its issue */
byte age[3];               /* age of the newest completed beat, from its issue */
bit changed[3];            /* the disk shows a beat that the observer has not read */
byte still[3];             /* for how long it has shown the one that was read */
bit asked[3], same[3];     /* the round: judged stale and read again; that read showed no change */

#ifdef BUG_ANYDISK
#define FRESH (age[0] <= F || age[1] <= F || age[2] <= F)
#else
#define FRESH ((age[0] <= F) + (age[1] <= F) + (age[2] <= F) >= 2)
#endif
#ifdef BUG_ONEDISK
#define ENOUGH 1
#else
#define ENOUGH 2
#endif

proctype Disk(byte d) {    /* one pipeline of the guard, and the observer's reads of that disk */
  do
  :: d_step { up && beat[d] == 0 -> beat[d] = 1; since[d] = 0 }
  :: d_step { beat[d] == 1 -> beat[d] = 2; changed[d] = 1 }
#ifdef BUG_COMPLETION
  :: d_step { up && beat[d] == 2 -> beat[d] = 0; age[d] = 0; since[d] = 0 }
#else
  :: d_step { up && beat[d] == 2 -> beat[d] = 0; age[d] = since[d]; since[d] = 0 }
#endif
#ifdef BUG_INSTANTS        /* verdicts of different instants are put together */
  :: d_step { !proven && changed[d] -> changed[d] = 0; still[d] = 0; asked[d] = 0; same[d] = 0 }
  :: d_step { !proven && !asked[d] && still[d] >= W -> asked[d] = 1 }
#else
  :: d_step { !proven && changed[d] -> changed[d] = 0; still[d] = 0;
       asked[0] = 0; asked[1] = 0; asked[2] = 0; same[0] = 0; same[1] = 0; same[2] = 0 }
#endif
#ifdef BUG_NOCONFIRM
  :: d_step { asked[d] && !same[d] -> same[d] = 1 }
#else
  :: d_step { asked[d] && !same[d] && !changed[d] -> same[d] = 1 }
#endif
  od
}
proctype Node() {
  do
#ifdef DUAL
  :: d_step { up && feed == 0 && FRESH -> feed = 1 }
  :: d_step { up && feed == 1 -> dog2 = T; feed = 2 }
  :: d_step { up && feed == 2 -> feed = (FRESH -> 3 : 0) }
  :: d_step { up && feed == 3 -> dog = T; feed = 0 }
#else
  :: d_step { up && FRESH && dog < T -> dog = T }
#endif
#ifndef BUG_INSTANTS       /* begin: all disks at one instant; grown: anew when more are stale */
  :: d_step { !proven && (still[0] >= W) + (still[1] >= W) + (still[2] >= W) >= ENOUGH &&
       ((still[0] >= W) != asked[0] || (still[1] >= W) != asked[1] || (still[2] >= W) != asked[2]) ->
       asked[0] = still[0] >= W; asked[1] = still[1] >= W; asked[2] = still[2] >= W; same[0] = 0; same[1] = 0; same[2] = 0 }
#endif
  :: d_step { !proven && same[0] + same[1] + same[2] >= ENOUGH -> proven = 1; assert(!up) }
  :: d_step { 1 -> byte d; d = 0;
       do :: d < 3 ->
             if :: beat[d] != 0 && since[d] < OVER -> since[d]++ :: else fi;
             if :: up && age[d] < OVER -> age[d]++ :: else fi;
             if :: still[d] < W -> still[d]++ :: else fi; d++
          :: else -> break od; d = 0;
       if :: up -> dog--;
#ifdef DUAL
             dog2--;
             if :: dog == 0 || dog2 == 0 -> dog = 0; dog2 = 0; feed = 0;
#else
             if :: dog == 0 ->
#endif
                up = 0;
                do :: d < 3 -> age[d] = 0; if :: beat[d] == 2 -> beat[d] = 0; since[d] = 0 :: else fi; d++ :: else -> break od; d = 0
             :: else fi
          :: else fi }
  od
}
init { d_step { age[0] = OVER; age[1] = OVER; age[2] = OVER }; atomic { run Disk(0); run Disk(1); run Disk(2); run Node() } }
