/* ring.pml - one node's block on one disk, kept in a ring of generations.
 *
 * What is modelled: cluster/register/disks.go (write, nextGen, Wrote, shows, doubt) and recover.go (recoverRing).
 * A write fails with an outcome that nobody knows and may land later (a "ghost"), also after its repeat succeeded and
 * after the daemon was restarted. The ring wraps many times over.
 * What must hold: what the disk has once shown to its writer is never hidden again. register.pml builds on this: it
 * takes a disk for a block that never goes back.
 *
 * Time: the quarantine of 60 s is "until nothing that was issued may land any more": a place becomes free again exactly
 * when its ghost has landed or is gone for good, which is the earliest instant the real clock could free it.
 * Assumed when a daemon starts, each with the knob that drops it (docs/decisions/0003 says what is left):
 *   OLDGHOST    what its former life wrote before the newest block that it reads has settled
 *   SILENTLIFE  so has all of a life that completed no write on this disk
 *   FASTWRAP    so has what it wrote beyond places that it still left out for the life before, which takes the wrap of
 *               its ring (ten blocks and more) within its first 60 s
 * A disk that acknowledges what it does not hold is found out only while it shows something else.
 *
 * R places (Generations), U writes of unknown outcome at most (maxUnknown); BLOCKS blocks and LIVES daemons bound the search.
 */
#ifndef R
#define R 4
#endif
#ifndef U
#define U 1
#endif
#ifndef BLOCKS
#define BLOCKS 6
#endif
#ifndef LIVES
#define LIVES 2
#endif
#ifdef BUG_ORPHANS_LESS
#define LEAVE U
#else
#define LEAVE (U+1)
#endif
#define LEAVE0 (U+1)

/* The disk. Blocks are numbered in the order in which they were made, over all lives: Header.Newer is this order. */
byte stands[R];            /* number of the block that stands in a place; 0: none */
byte standsGen[R];         /* its generation */
byte ghost[R];             /* a write that may still land in this place; 0: none */
byte ghostGen[R];
byte ghostLife[R];
/* The writer: type disk of disks.go. */
byte gen, base, life = 1, made;
byte flight, flightGen;    /* the write in flight */
byte redo, redoGen;        /* the write that failed last, if it may be repeated */
byte block, blockGen;      /* completed, and not yet shown by the disk */
bit unknown[R], orphan[R], started;
bit hurried;               /* after the newest block shown, a life skipped places that it left out */
bit wrote;             /* the last life completed a write that landed */
/* Observer: the newest block that counted in a phase, and what the disk shows. */
byte counted, newest, top, i, young, place, next;

#ifdef SILENTLIFE
#define SILENT
#else
#define SILENT || !wrote
#endif

#ifdef FASTWRAP
#define HURRIED
#else
#define HURRIED || (hurried && ghostGen[i] > top + LEAVE)
#endif

inline look() {            /* recovery and judge look at every header of a ring */
  i = 0; newest = 0; top = 0;
  do :: i < R -> if :: stands[i] > newest -> newest = stands[i] :: else fi;
                 if :: standsGen[i] > top -> top = standsGen[i] :: else fi; i++
     :: else -> break od; i = 0 }
inline land(p) { stands[p] = ghost[p]; standsGen[p] = ghostGen[p]; ghost[p] = 0; ghostGen[p] = 0; ghostLife[p] = 0;
  look(); assert(newest >= counted); newest = 0; top = 0 }
inline haunt(n, g) {       /* an issued write of unknown outcome */
  place = g % R;
  ghost[place] = n; ghostGen[place] = g; ghostLife[place] = life }
inline choose() {          /* nextGen: next is 0 if no place may be used now */
  i = 0; young = 0; next = 0;
  do :: i < R -> young = young + unknown[i]; i++ :: else -> break od;
  i = 1;
  do :: i <= R && next == 0 && young < U ->
        place = (gen + i) % R;
        if :: !unknown[place] && !orphan[place] -> next = gen + i :: else fi;
        i++
     :: else -> break od;
#ifndef BUG_NOLIMIT        /* of the generations after the newest that the disk has shown, no more than the next life leaves out */
  i = base + 1; young = 0;
  do :: i <= next -> if :: !orphan[i % R] -> young++ :: else fi; i++ :: else -> break od;
  if :: young > LEAVE0 -> next = 0 :: else fi;
#endif
  i = gen + 1;
  do :: i < next -> if :: orphan[i % R] -> hurried = 1 :: else fi; i++ :: else -> break od;
  i = 0; young = 0; place = 0 }
inline recover() {         /* recoverRing */
  look(); gen = top;
#ifndef OLDGHOST
  i = 0;
  do :: i < R -> if :: ghost[i] != 0 && (ghost[i] <= newest || ghostLife[i]+1 < life SILENT HURRIED) -> ghost[i] = 0; ghostGen[i] = 0; ghostLife[i] = 0 :: else fi; i++ :: else -> break od;
#endif
  i = 0;
  do :: i < R -> orphan[i] = 0; unknown[i] = 0; i++ :: else -> break od;
#ifndef BUG_NOORPHAN
  i = 0;
  do :: i < LEAVE -> gen++; orphan[gen % R] = 1; i++ :: else -> break od;
#endif
  i = 0; base = gen; newest = 0; top = 0; started = 1; wrote = 0; hurried = 0 }
inline former() {          /* next: how many writes of former lives may still land */
  i = 0; next = 0;
  do :: i < R -> if :: ghost[i] != 0 && ghostLife[i] < life -> next++ :: else fi; i++ :: else -> break od; i = 0 }

proctype Place(byte p) {
  do
  :: d_step { ghost[p] != 0 -> printf("block %d lands late\n", ghost[p]); land(p) }
  :: d_step { ghost[p] != 0 -> ghost[p] = 0; ghostGen[p] = 0; ghostLife[p] = 0 }
  :: d_step { unknown[p] && ghost[p] == 0 -> unknown[p] = 0 }
  od
}

proctype Writer() {
  do
  :: d_step { started -> former();
       if :: next == 0 -> i = 0; do :: i < R -> orphan[i] = 0; i++ :: else -> break od; i = 0 :: else fi; next = 0 }
  :: d_step { !started -> recover() }
  /* a new block: begin(phase), write, nextGen */
  :: d_step { started && flight == 0 && block == 0 && made < BLOCKS -> choose();
       if :: next != 0 -> made++; flight = made; flightGen = next; gen = next; printf("block %d: generation %d\n", flight, flightGen) :: else fi; next = 0 }
#ifndef BUG_NOLIMIT
  /* the generations after the newest that the disk has shown are used up, and everything has settled: read the ring again */
  :: d_step { started && flight == 0 && block == 0 && base < gen -> i = 0; next = 0;
       do :: i < R -> if :: ghost[i] != 0 || unknown[i] || orphan[i] -> next++ :: else fi; i++ :: else -> break od; i = 0;
       if :: next == 0 -> look(); gen = top; base = top; redo = 0; redoGen = 0; newest = 0; top = 0; printf("read again: generation %d\n", gen) :: else fi; next = 0 }
#endif
  /* the same block again, into its own place */
  :: d_step { started && flight == 0 && block == 0 && redo != 0 && redo == made -> flight = redo; flightGen = redoGen; printf("block %d again\n", flight) }
  /* Wrote(ok) */
  :: d_step { flight != 0 -> printf("written\n");
       stands[flightGen % R] = flight; standsGen[flightGen % R] = flightGen; look(); assert(newest >= counted); newest = 0; top = 0;
#ifdef BUG_REPEATFREES
       if :: flight == redo -> unknown[flightGen % R] = 0 :: else fi;
#endif
       if :: flight == redo -> redo = 0; redoGen = 0 :: else fi;
       wrote = 1; block = flight; blockGen = flightGen; flight = 0; flightGen = 0 }
  /* Wrote(ok) of a write that waits in a cache, or went elsewhere */
  :: d_step { flight != 0 && ghost[flightGen % R] == 0 && stands[flightGen % R] != flight -> printf("acknowledged, and not on the disk\n");
       haunt(flight, flightGen); place = 0;
       if :: flight == redo -> redo = 0; redoGen = 0 :: else fi;
       block = flight; blockGen = flightGen; flight = 0; flightGen = 0 }
  /* Wrote(failed): it may have landed, may land later, or never */
  :: d_step { flight != 0 -> printf("failed\n");
       haunt(flight, flightGen); place = 0;
#ifndef BUG_NOQUARANTINE
       unknown[flightGen % R] = 1;
#endif
       redo = flight; redoGen = flightGen; flight = 0; flightGen = 0 }
  /* Headers: the phase counts only if the disk shows the block; else doubt() */
  :: d_step { block != 0 ->
#ifdef BUG_NOSHOW
       counted = block;
#else
       if :: stands[blockGen % R] == block -> counted = block; base = blockGen; hurried = 0; printf("block %d counts\n", block)
          :: else -> printf("doubt\n"); unknown[blockGen % R] = 1; redo = block; redoGen = blockGen
       fi;
#endif
       look(); assert(newest >= counted); newest = 0; top = 0;
       block = 0; blockGen = 0 }
  /* the daemon is restarted */
  :: d_step { started && life < LIVES -> printf("restart\n");
       if :: flight != 0 -> haunt(flight, flightGen); place = 0 :: else fi;
       life++; flight = 0; flightGen = 0; redo = 0; redoGen = 0; block = 0; blockGen = 0; started = 0; gen = 0 }
  od
}

init { atomic { run Writer(); i = 0; do :: i < R -> run Place(i); i++ :: else -> break od; i = 0 } }
