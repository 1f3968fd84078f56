/* register.pml - the register of the cluster's state: Disk Paxos by two nodes over one or three disks.
 *
 * cluster/register: enter (ballot), begin (phase), write, judge, adopt, recommit, extend, choose; recover.go after a
 * restart. A disk is, per node, the newest block of its ring: ring.pml shows that it never goes back. A write lands at
 * any later time; one whose writer is gone lands only under what a later life has written. A node has at most one
 * write in flight per disk and reads the headers only after that write completed, on the same disk.
 * Nothing survives a restart but the disks: round and ballot are read back from a majority. Ballots are (round, node,
 * life): ident.Ballot, docs/decisions/0003.
 * What must hold: one value at most is chosen per version; each is built on the one chosen before; a node never takes
 * the disks for rolled back (halt) when they are not.
 *
 * ND disks, MAJ a majority of them, ROUNDS and VERS bound the search; RESTARTS of node 0, RESTARTS1 of node 1.
 */
#ifndef ND
#define ND 1
#endif
#ifndef MAJ
#define MAJ (ND/2+1)
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef VERS
#define VERS 2
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef RESTARTS1
#define RESTARTS1 0
#endif
#define LIVES 2
#ifdef BALLOT_NOLIFE
#define BALLOT(r,p,l) ((r)*4 + (p)*2)
#else
#define BALLOT(r,p,l) ((r)*4 + (p)*2 + (l))
#endif
#define ROUND(b) ((b)/4)
#define VALUE (ROUND(own.mbal)*4 + me*2 + life)  /* every proposal is another value */

typedef Block { byte life, mbal, bal, ver, val, base };
typedef Row { Block b[2] };
Row disk[ND];              /* what the disks show */
Row wire[ND];              /* writes in flight */
Row late[ND];              /* writes that a former life left behind */
typedef Flags { bit f[2] };
Flags flying[ND], left[ND];
byte chosen[VERS+1];
byte bal_of[VERS+1];
byte at;

inline copy(to, from) { to.life = from.life; to.mbal = from.mbal; to.bal = from.bal; to.ver = from.ver; to.val = from.val; to.base = from.base }
inline wipe(x) { x.life = 0; x.mbal = 0; x.bal = 0; x.ver = 0; x.val = 0; x.base = 0 }

proctype Fabric(byte d; byte p) {
  do
  :: d_step { flying[d].f[p] -> copy(disk[d].b[p], wire[d].b[p]); wipe(wire[d].b[p]); flying[d].f[p] = 0 }
  :: d_step { left[d].f[p] ->
#ifdef BUG_NORING          /* one place and no generations: a late write hides what is newer */
       copy(disk[d].b[p], late[d].b[p]);
#else
       if :: disk[d].b[p].life <= late[d].b[p].life -> copy(disk[d].b[p], late[d].b[p]) :: else fi;
#endif
       wipe(late[d].b[p]); left[d].f[p] = 0 }
  od
}

#define MORE(b1,v1,b2,v2) ((b1) > (b2) || ((b1) == (b2) && (v1) > (v2)))
#define DONE(d) (stage[d] == 2)
#if ND == 1
#define COUNT DONE(0)
#else
#define COUNT (DONE(0) + DONE(1) + DONE(2))
#endif
inline restage() { stage[0] = 0;
#if ND > 1
  stage[1] = 0; stage[2] = 0
#endif
}
#define note(x) if :: ROUND(x) > round -> round = ROUND(x) :: else fi
/* One disk of one phase: write, then read. Headers, shows, judge. */
#define WRITE(d) :: d_step { phase > 0 && stage[d] == 0 && !flying[d].f[me] -> \
    copy(wire[d].b[me], own); flying[d].f[me] = 1; stage[d] = 1 }
#ifdef BUG_READEARLY
#define WRITTEN(d) 1
#else
#define WRITTEN(d) !flying[d].f[me]
#endif
#define READ(d) :: d_step { phase > 0 && stage[d] == 1 && WRITTEN(d) -> \
    note(disk[d].b[1-me].mbal); \
    if :: disk[d].b[1-me].mbal > own.mbal -> phase = 0; restage(); leader = 0 \
       :: else -> stage[d] = 2; \
          if :: phase == 1 && MORE(disk[d].b[1-me].bal, disk[d].b[1-me].ver, best.bal, best.ver) -> copy(best, disk[d].b[1-me]) :: else fi fi }
#define OWN(d) d_step { note(disk[d].b[me].mbal); note(disk[d].b[1-me].mbal); \
    if :: disk[d].b[me].mbal > own.mbal -> own.mbal = disk[d].b[me].mbal :: else fi; \
    if :: MORE(disk[d].b[me].bal, disk[d].b[me].ver, own.bal, own.ver) -> own.bal = disk[d].b[me].bal; own.ver = disk[d].b[me].ver; own.val = disk[d].b[me].val; own.base = disk[d].b[me].base :: else fi }

proctype Node(byte me; byte restarts) {
  Block own, best;
  byte stage[ND];
  byte phase = 0, round = 0, life = 0, ver = 0, val = 0, floor = 0, entered = 0;
  bit leader = 0, again = 0;
end:
  do
  /* Propose: enter, or extend at once where nobody has opposed this node */
  :: d_step { phase == 0 && !leader && entered < ROUNDS && ver < VERS ->
       entered++; round++; own.mbal = BALLOT(round, me, life); best.bal = own.bal; best.ver = own.ver; best.val = own.val; best.base = own.base;
       floor = ver; restage(); phase = 1 }
  :: d_step { phase == 0 && leader && ver < VERS ->
       again = 0; own.bal = own.mbal; own.base = val; own.ver = ver+1; own.val = VALUE; restage(); phase = 2 }
  /* Learn: somebody says that a version is chosen, and where */
  :: d_step { ver < VERS && chosen[ver+1] != 0 ->
       ver = ver+1; val = chosen[ver]; if :: bal_of[ver] > own.mbal -> leader = 0 :: else fi }
  WRITE(0) READ(0)
#if ND > 1
  WRITE(1) READ(1) WRITE(2) READ(2)
#endif
  :: d_step { phase == 1 && COUNT >= MAJ -> leader = 1; restage();     /* adopt */
#ifdef BUG_NOADOPT
       best.ver = ver;
#endif
       if
       :: best.ver < floor -> assert(0)                                  /* halt: the disks were rolled back */
       :: best.ver >= floor && best.ver < ver -> phase = 0; leader = 0
       :: best.ver >= floor && best.ver == ver && ver < VERS -> again = 0; own.bal = own.mbal; own.base = val; own.ver = ver+1; own.val = VALUE; phase = 2
       :: best.ver >= floor && best.ver == ver && ver >= VERS -> phase = 0
       :: best.ver > ver && best.ver >= floor -> again = 1; own.bal = own.mbal; own.ver = best.ver; own.val = best.val; own.base = best.base; phase = 2
       fi; wipe(best) }
  :: d_step { phase == 2 && COUNT >= MAJ -> restage(); phase = 0;      /* choose */
       assert(chosen[own.ver] == 0 || chosen[own.ver] == own.val);
       if :: own.ver > 1 -> assert(chosen[own.ver-1] == 0 || chosen[own.ver-1] == own.base); chosen[own.ver-1] = own.base :: else fi;
       chosen[own.ver] = own.val; if :: own.bal > bal_of[own.ver] -> bal_of[own.ver] = own.bal :: else fi;
       if :: own.ver > ver -> ver = own.ver; val = own.val :: else fi
#ifdef BUG_CLEAR
       ; at = 0; do :: at < ND -> wipe(disk[at].b[me]); at++ :: else -> break od; at = 0
#endif
     }
  /* the daemon is restarted: what is in flight lands late or never; recoverRing, recoverQuorum */
  :: atomic { restarts > 0 -> restarts--; life++; at = 0;
       do :: at < ND -> if :: flying[at].f[me] -> flying[at].f[me] = 0; left[at].f[me] = 1; copy(late[at].b[me], wire[at].b[me]); wipe(wire[at].b[me]) :: else fi; at++ :: else -> break od; at = 0;
       wipe(own); wipe(best); restage(); phase = 0; round = 0; ver = 0; val = 0; floor = 0; leader = 0; again = 0; entered = 0;
       own.life = life;
#ifdef BUG_NOORDER         /* lives that did not see each other's writes are not told apart */
       own.life = 0;
#endif
#ifdef BUG_NORECOVER
       skip
#else
#if ND == 1
       OWN(0)
#else
       if :: OWN(0); OWN(1) :: OWN(0); OWN(2) :: OWN(1); OWN(2) fi
#endif
#endif
     }
  od
}
init { atomic { run Fabric(0,0); run Fabric(0,1);
#if ND > 1
  run Fabric(1,0); run Fabric(1,1); run Fabric(2,0); run Fabric(2,1);
#endif
  run Node(0, RESTARTS); run Node(1, RESTARTS1) } }
