/* takeover.pml - one service, the node X that may hold it, and the observer Y that may take it over.
 *
 * X is a guard (internal/guard, cluster/lease), a daemon (cluster/core, cluster/services) and operations that outlive
 * it (resources/runner); each dies on its own, and every step of each may be delayed for ever. Only ticks and watchdogs are
 * on time. Beats land late, also after a reset. The register is one atomic value (register.pml), the disk one sector
 * (lease.pml), a read of Y one step judged at its issue and counted from its completion.
 * What must hold: at most one incarnation can write to the service: a start under way, a running service, or the last
 * writes of a machine that was reset (Z, the drain time T_z).
 *
 * Times in ticks: F lease, T watchdog, Z drain, E clock error of each side, W = F + m*T + Z + 2E (cluster/timing Wait).
 * m: 1 with two watchdogs (DUAL), else 2; one more if nobody else holds the descriptors (NOSECOND): guard.checkPromise.
 * Left out because more is allowed without it: the feeder's third check, the end of the daemon's permission (a guard that
 * may stall for ever covers it), the order in time of daemon and network.
 * KFREEZE the kernel freezes; SUSPEND the machine sleeps (what it writes between the resume and the guard's next step is excluded:
 * the sleep targets are masked); KILL kill records, stopping, E6; LEAVE the clean leave, E1.
 */
#ifndef F
#define F 1
#endif
#ifndef T
#define T 2
#endif
#ifndef Z
#define Z 1
#endif
#ifndef E
#define E 0
#endif
#ifdef DUAL
#define M0 1
#else
#define M0 2
#endif
#ifdef NOSECOND
#define M (M0+1)
#else
#define M M0
#endif
#ifndef W
#define W (F+M*T+Z+E+E)
#endif
#ifndef LIVES
#define LIVES 2            /* incarnations of X */
#endif
#ifndef TERMS
#define TERMS 3
#endif
#define OVER (F+E+1)
#define X 1
#define Y 2

/* cluster.State: the grant, and what is registered of X. Incarnations are numbers; 0: none. */
byte owner, ownerInc, term;
byte fencing, left;        /* highest incarnation whose fencing is chosen; that left or is leaving */
byte dead;                 /* highest dead incarnation */
/* The beat sector, and Y */
byte shown, ghost;         /* incarnation in the sector; in a write of a dead guard or machine that may still land */
bit shownRetired, changed;
byte seen, still, acked, drain;  /* Y: incarnation it has seen, for how long unchanged; retired incarnation it has read, and since when */
/* The machine */
bit up, frozen; byte slept;/* slept: 1 asleep, 2 awake and the guard has not noticed */
byte dog, dog2, inc, last; /* last writes of a reset machine */
bit runs, starts, orphan;  /* the service; a start of this daemon's life; of a former one */
/* The guard */
byte guard;                /* 0 FREE, 1 BOUND, 2 died while BOUND: its successor resets, and if that fails never feeds */
byte feed, beat, since, age;
bit frozenLease, farewell, beatRetired; byte payload;  /* farewell: retired, to be written; payload: released term in it */
bit orderStop, orderRetire;
/* The daemon */
byte daemon;               /* 0 dead, 1 nothing bound, 2 member, 3 ending: starts nothing more in this life, 4 leaving */
byte learned, released; bit told;   /* granted term; burned term; told: the present term's release was published */

#ifdef BUG_CLAIMLATE
bit late;                  /* the lease of the first beat is not counted yet */
#endif

#define RUNS  (up && !frozen && slept != 1)
#define WRITES (((runs || starts || orphan) && !frozen && !slept) || last > 0)
#ifdef BUG_IDLE
#define IDLE (!runs && !starts)
#else
#define IDLE 0
#endif
#define MAYFEED (guard == 0 || (guard == 1 && slept == 0 && (age <= F+E || IDLE)))
#ifdef BUG_RETIREBUSY
#define DOWN (!runs)
#else
#define DOWN (!runs && !starts)
#endif
#ifdef BUG_ORPHAN
#define SWEPT 1
#else
#define SWEPT (!orphan)
#endif
#define MINE (owner == X && ownerInc == inc)
#ifdef BUG_NOINC
#define GRANTED (owner == X)
#else
#define GRANTED MINE
#endif

inline fed() { dog = T;
#ifdef DUAL
  dog2 = T
#endif
}
inline reset() {
  if :: (runs || starts || orphan) && !frozen && !slept -> last = Z :: else fi;
  if :: beat == 1 && !beatRetired -> ghost = inc :: else fi;
  up = 0; frozen = 0; slept = 0; runs = 0; starts = 0; orphan = 0; dog = 0; dog2 = 0; guard = 0; feed = 0; beat = 0; since = 0; age = OVER;
  frozenLease = 0; farewell = 0; beatRetired = 0; payload = 0; orderStop = 0; orderRetire = 0; daemon = 0; learned = 0; released = 0 }
inline land(k, r) { shown = k; shownRetired = r; changed = 1; still = 0 }
inline die(k) {            /* decide.end, admit */
  if :: dead < k -> dead = k :: else fi }

active proctype World() {
  d_step { up = 1; daemon = 1; age = OVER; fed() }
  do
  /* ---- guard: orders.go claim, retire; state.go; worker.go ---- */
#ifdef BUG_NODRAIN
  :: d_step { RUNS && guard == 0 && daemon == 1 && !orderRetire && beat == 0 && slept == 0 && inc < LIVES ->
#else
  :: d_step { RUNS && guard == 0 && daemon == 1 && !orderRetire && beat == 0 && last == 0 && slept == 0 && inc < LIVES ->
#endif
       assert(!runs && !starts && !orphan);
       inc++; printf("claim %d\n", inc); guard = 1; daemon = 2; frozenLease = 0; farewell = 0; learned = 0; released = 0; payload = 0;
#ifdef BUG_CLAIMLATE
       age = OVER; late = 1 }
  :: d_step { RUNS && guard == 1 && late && beat > 0 -> age = 0; late = 0 }
#else
       age = 0 }           /* Claim: the lease counts from now until the first cycle completes */
#endif
  :: d_step { RUNS && guard == 1 && slept == 0 && beat == 0 -> beat = 1; since = 0; beatRetired = 0 }
  :: d_step { RUNS && guard == 0 && farewell && beat == 0 -> beat = 1; since = 0; beatRetired = 1; farewell = 0 }
  :: d_step { up && beat == 1 -> printf("beat of %d lands\n", inc); beat = 2; land(inc, beatRetired) }
  :: d_step { ghost != 0 -> printf("late beat of %d lands\n", ghost); land(ghost, 0); ghost = 0 }
#ifdef BUG_REVIVE
  :: d_step { RUNS && beat == 2 -> if :: guard == 1 && !beatRetired -> age = since :: else fi; beat = 0; since = 0; beatRetired = 0 }
#else
  :: d_step { RUNS && beat == 2 -> if :: guard == 1 && !frozenLease && !beatRetired -> age = since :: else fi; beat = 0; since = 0; beatRetired = 0 }
#endif
  /* feeder.go round */
  :: d_step { RUNS && guard != 2 && feed == 0 && MAYFEED -> feed = 1 }
#ifdef DUAL
  :: d_step { RUNS && feed == 1 -> dog2 = T; feed = 2 }
  :: d_step { RUNS && feed == 2 -> feed = (MAYFEED -> 3 : 0) }
  :: d_step { RUNS && feed == 3 -> dog = T; feed = 0 }
#else
  :: d_step { RUNS && feed == 1 -> dog = T; feed = 0 }
#endif
  :: d_step { RUNS && guard == 1 && orderStop -> printf("stopping\n"); frozenLease = 1; orderStop = 0 }
  :: d_step { RUNS && guard == 1 && !frozenLease && fencing >= inc -> printf("kill record\n"); frozenLease = 1 }
  :: d_step { RUNS && guard == 1 && orderRetire && !orderStop -> printf("%d retired\n", inc); orderRetire = 0; guard = 0; frozenLease = 0; age = OVER; farewell = 1; if :: daemon != 0 -> daemon = 5 :: else fi }
  :: d_step { RUNS && guard == 1 -> printf("guard killed\n"); guard = 2; frozenLease = 0; feed = 0; age = OVER; orderStop = 0; orderRetire = 0;
       if :: beat == 1 -> ghost = inc :: else fi; beat = 0; since = 0;
#ifdef NOSECOND
       fed()               /* the kernel feeds a watchdog once when its last descriptor is closed */
#endif
     }
#ifdef BUG_SUCCESSOR
  :: d_step { RUNS && guard == 2 -> fed() }
#endif
  /* ---- daemon: progress.go, services.go ---- */
  :: d_step { RUNS && daemon > 0 -> printf("daemon dies\n"); daemon = 0; learned = 0; released = 0; if :: starts -> orphan = 1 :: else fi; starts = 0 }
  :: d_step { RUNS && orphan && daemon == 0 -> orphan = 0 }
  :: d_step { orphan && up -> printf("orphaned start: runs\n"); orphan = 0; runs = 1 }
  :: d_step { RUNS && daemon == 0 && guard != 2 && SWEPT -> printf("daemon starts\n");
#ifndef BUG_OLDORDERS
       orderStop = 0; orderRetire = 0;
#endif
       daemon = (guard == 0 -> 1 : (frozenLease -> 3 : 2)); released = (guard == 1 -> payload : 0);
       if                  /* services.Resume, adopt: running: continued; not running: released without ever being started */
       :: guard == 1 && MINE && term > released && runs -> learned = term
#ifndef BUG_ADOPT
       :: guard == 1 && MINE && term > released && !runs -> learned = term; released = term
#endif
       :: else fi }
  :: d_step { RUNS && daemon == 1 && guard == 0 && runs -> printf("found running: stopped\n"); runs = 0 }
#ifdef BUG_STALEGRANT
  :: d_step { RUNS && daemon == 2 && term > 0 && learned < term -> learned = term }
#else
  :: d_step { RUNS && daemon == 2 && GRANTED && learned != term -> printf("learns term %d\n", term); learned = term }
#endif
  :: d_step { RUNS && daemon == 2 && learned > released && !runs && !starts -> printf("starts term %d\n", learned); starts = 1; assert(owner != Y || slept || !WRITES) }
  :: d_step { RUNS && starts -> starts = 0; runs = 1 }
  :: d_step { RUNS && daemon > 0 && starts -> starts = 0 }
  :: d_step { RUNS && daemon > 0 && runs -> printf("verified stopped\n"); runs = 0 }
  :: d_step { RUNS && daemon >= 2 && daemon <= 4 && DOWN && learned > released -> printf("burns term %d\n", learned); released = learned }
  :: d_step { RUNS && daemon >= 2 && guard == 1 && payload < released -> payload = released }
#ifdef BUG_UNECHOED
  :: d_step { RUNS && daemon >= 2 && daemon <= 4 && released == term && MINE && term > 0 && !told -> told = 1 }
#else
  :: d_step { RUNS && daemon >= 2 && daemon <= 4 && payload >= released && released == term && MINE && term > 0 && !told -> printf("releases term %d\n", term); told = 1 }
#endif
  /* endure, or the lease ran out, or the release that others ask for: nothing starts any more in this life */
  :: d_step { RUNS && daemon == 2 -> printf("ending\n"); daemon = 3; if :: guard == 1 -> orderStop = 1 :: guard == 1 -> skip :: else fi }
  :: d_step { RUNS && daemon >= 3 && daemon <= 4 && guard == 1 && DOWN && learned <= released && payload >= released && !orderRetire -> printf("sends retire\n"); orderRetire = 1 }
  :: d_step { RUNS && daemon == 5 -> daemon = 1; learned = 0; released = 0 }     /* fromRetired: back as a new incarnation */
#ifdef LEAVE
  :: d_step { RUNS && daemon == 2 && inc > dead -> printf("leaving\n"); daemon = 4; if :: left < inc -> left = inc :: else fi }
#ifdef BUG_LEFTOWNS        /* decide.reviseEnd: ownsNothing */
  :: d_step { left > dead -> dead = left }
#else
  :: d_step { left > dead && !(owner == X && ownerInc <= left) -> printf("%d has left\n", left); dead = left }
#endif
#endif
  /* ---- the register and Y: decide/services.go, core/fence.go, liveness ---- */
#ifdef BUG_GRANTLEAVING
  :: d_step { owner == 0 && shown > dead && shown > fencing && !shownRetired && term < TERMS -> owner = X; ownerInc = shown; term++; told = 0 }
#else
  :: d_step { owner == 0 && shown > dead && shown > fencing && shown > left && !shownRetired && term < TERMS ->
       owner = X; ownerInc = shown; term++; told = 0; printf("grant: term %d to X.%d\n", term, ownerInc) }
#endif
  :: d_step { owner == X && term < TERMS && (told || ownerInc <= dead) ->
       printf("grant: term %d to Y\n", term+1); owner = Y; ownerInc = 0; term++; told = 0; assert(!WRITES) }
  :: d_step { owner == X && term < TERMS && (told || ownerInc <= dead) -> owner = 0; ownerInc = 0 }
  :: d_step { owner == Y && term < TERMS -> owner = 0 }
  :: d_step { changed -> changed = 0; still = 0; seen = shown; printf("Y reads a beat of %d\n", seen);
       if :: seen > 0 -> die(seen-1) :: else fi;                                       /* E2: a newer incarnation */
       if :: shownRetired && acked < seen -> acked = seen; drain = 0 :: else fi }
  :: d_step { !changed && seen > dead && seen > fencing && !shownRetired -> printf("fencing of %d chosen\n", seen); fencing = seen }
  :: d_step { !changed && seen > dead && fencing >= seen && still + E >= W -> printf("E3: %d is dead\n", seen); die(seen) }
#ifdef KILL
#ifdef BUG_ACKEARLY        /* the daemon acknowledges once everything is down, and may still start something */
  :: d_step { RUNS && daemon == 2 && guard == 1 && DOWN && fencing >= inc && acked < inc -> acked = inc; drain = Z }
#endif
  :: d_step { acked > dead && fencing >= acked && drain >= Z -> printf("E6: %d is dead\n", acked); die(acked) }
#endif
  /* ---- faults ---- */
  :: d_step { up -> printf("power lost\n"); reset() }
  :: d_step { !up && inc < LIVES -> printf("boots\n"); up = 1; daemon = 1; fed() }
#ifdef KFREEZE
  :: d_step { RUNS -> printf("kernel freezes\n"); frozen = 1; if :: runs || starts || orphan -> last = Z :: else fi }
  :: d_step { up && frozen -> printf("goes on\n"); frozen = 0; last = 0;
#ifdef DUAL
       if :: dog2 == 0 -> reset() :: else fi;
#endif
       assert(!(WRITES && owner == Y)) }
#endif
#ifdef SUSPEND
  :: d_step { RUNS && slept == 0 -> printf("suspend\n"); slept = 1 }
  :: d_step { up && slept == 1 -> printf("resume\n"); slept = 2 }
#ifdef BUG_SUSPEND
  :: d_step { RUNS && slept == 2 -> slept = 0; assert(!(WRITES && owner == Y)) }
#else
  :: d_step { RUNS && slept == 2 && guard == 0 -> slept = 0; assert(!(WRITES && owner == Y)) }
  :: d_step { RUNS && slept == 2 && guard != 0 -> printf("the guard notices\n"); reset() }
#endif
#endif
  /* ---- time ---- */
  :: d_step { 1 ->
       if :: beat > 0 && since < OVER -> since++ :: else fi; if :: guard == 1 && age < OVER -> age++ :: else fi;
       if :: last > 0 -> last-- :: else fi;
       if :: seen > dead && !changed && still < W -> still++ :: else fi; if :: acked > dead && drain < Z -> drain++ :: else fi;
       if :: up && slept != 1 -> dog--;
#ifdef DUAL
             if :: dog2 > 0 -> dog2-- :: else fi;
             if :: dog == 0 || (dog2 == 0 && !frozen) -> printf("watchdog\n"); reset() :: else fi
#else
             if :: dog == 0 -> printf("watchdog\n"); reset() :: else fi
#endif
          :: else fi }
  od
}
