/* ticket.pml - two machines with one node's identity begin to write one ring, on one disk.
 *
 * What is modelled: cluster/register/shared.go (feedRing, look, readRing, wroteTicket, foreign), recover.go (leaveOut)
 * and disks.go (feed: nobody writes a block who has not read the headers within PROMPT; the quarantine).
 * Either machine may stop at any point for any time; a ticket that it has issued lands whenever it lands, a block within
 * SETTLE, or never. Time is counted in ticks, and only measured: nothing else happens in time because it has to.
 * What must hold: a block that its writer has read back, and goes by, is never replaced by a block of the other machine
 * whose writer has not read it. register.pml builds on this: there a node is one writer.
 *
 * A machine has one write in flight, so it is LEAVE = 1 generation beyond what the disk has shown it; the others of
 * unknown outcome are ring.pml's. R places for blocks, and one for tickets. PROMPT, STANDING and SETTLE are in ticks.
 * TRIES beginnings of each machine, BLOCKS generations and TICKS bound the search.
 */
#ifndef R
#define R 5
#endif
#ifndef PROMPT
#define PROMPT 1
#endif
#ifndef STANDING
#define STANDING 2
#endif
#ifndef TRIES
#define TRIES 2
#endif
#ifndef BLOCKS
#define BLOCKS 9
#endif
#ifndef TICKS
#define TICKS 6
#endif
#ifndef SETTLE
#define SETTLE 1
#endif
#define LEAVE 1
#define MINE(t) ((t) != 0 && ((t)-1) / 8 == me)
#define OUTSIDE 0
#define LOOKED 1
#define WAITS 2
#define INSIDE 3
#define SPENT 4

byte now;
byte ticket, tickInc, tickWin;     /* what stands in the place of tickets: machine*8 + attempt + 1, its life number, where its first block goes */
byte stands[R];                    /* generation that stands in a place; 0: none */
byte by[R];                        /* whose: machine + 1 */
byte inc[R];                       /* of which life number */
byte relied[2];                    /* newest generation that a machine has read back and goes by; 0: none */
byte base[2];                      /* newest generation that it has read when it began */
byte i, top, topInc, newest;       /* the highest generation, the newest life, and the highest generation of that */

inline look() { i = 0; top = 0; topInc = 0; newest = 0;
  do :: i < R -> if :: stands[i] > top -> top = stands[i] :: else fi;
                 if :: inc[i] > topInc -> topInc = inc[i]; newest = stands[i]
                    :: inc[i] == topInc && stands[i] > newest -> newest = stands[i] :: else fi; i++
     :: else -> break od; i = 0 }

proctype Clock() { do :: now < TICKS -> now++ od }

#define NOWHERE 255
#ifdef BUG_NOLOOK
#define FRESH 1
#else
#define FRESH (now - saw <= PROMPT)
#endif
#define FREE (now - began >= SETTLE)

proctype Machine(byte me) {
  byte step = OUTSIDE, asked = 0, stood = 0, tries = 0, mine = 0, life = 0, gen = 0, from = 0, avoid = NOWHERE, left = NOWHERE, also = NOWHERE;
  byte flight = 0, landed = 0;     /* flight: 1 a ticket, 2 a block; landed: it has */
  byte g = 0, ownInc = 0;
  byte saw = 0, sent = 0, began = 0; /* when it read the headers last, issued its block, and began */
end:
  do
  /* look: leave out the generation after the newest, and the one that the holder of an open ticket begins with */
  :: d_step { step == OUTSIDE && flight == 0 && tries < TRIES ->
       look(); asked = now; tries++; from = top;
       if :: ticket != 0 && !MINE(ticket) && tickInc > topInc -> avoid = tickWin
          :: MINE(ticket) && tickInc > topInc -> skip
          :: else -> avoid = NOWHERE fi;
#ifdef BUG_OPEN
       avoid = NOWHERE;
#endif
       if :: tickInc > topInc -> topInc = tickInc :: else fi;
       life = topInc + 1; left = (from + LEAVE) % R;
       gen = from + LEAVE;
#ifndef BUG_LATEST
       also = (newest + LEAVE) % R;   /* the newest life may have begun before an older one's block came */
#endif
#ifndef BUG_LEAVE
       do :: (gen + 1) % R == left || (gen + 1) % R == avoid || (gen + 1) % R == also -> gen++ :: else -> break od;
#else
       gen = from; left = NOWHERE; also = NOWHERE;
#endif
       mine = me*8 + tries + 1; step = LOOKED; printf("tick %d: %d looks, generation %d stands, will begin with %d\n", now, me, top, gen+1); top = 0; topInc = 0; newest = 0 }
  :: d_step { step == LOOKED && flight == 0 -> flight = 1; landed = 0 }
  :: d_step { flight == 1 && !landed -> landed = 1; printf("tick %d: the ticket of %d lands\n", now, me); ticket = mine; tickInc = life; tickWin = (gen + 1) % R }
  :: d_step { flight == 1 && landed -> flight = 0; landed = 0;
#ifdef BUG_LATECOUNTS
       step = WAITS; stood = now
#else
       if :: now - asked <= PROMPT -> step = WAITS; stood = now :: else ->
#ifdef BUG_NOPAUSE
            step = OUTSIDE
#else
            step = SPENT                 /* it may have hidden another ticket: not before everything has settled */
#endif
          fi
#endif
     }
  :: d_step { step == WAITS && flight == 0 && now - stood >= STANDING -> look();
       if :: ticket == mine && (top == from
#ifdef BUG_NOREREAD
                                 || 1
#endif
                               ) ->
             step = INSIDE; base[me] = top; ownInc = topInc; relied[me] = 0; saw = now; began = now; printf("tick %d: %d begins\n", now, me)
          :: else -> step = OUTSIDE fi; top = 0; topInc = 0; newest = 0 }
  /* a block: the next generation, by one who has just read. What it left out is free again once that has settled. */
  :: d_step { step == INSIDE && flight == 0 && g == 0 && gen < BLOCKS && (FREE || (gen+1) % R != left && (gen+1) % R != avoid && (gen+1) % R != also) && FRESH ->
       gen++; g = gen; flight = 2; landed = 0; sent = now }
  :: d_step { flight == 2 && !landed && now - sent <= SETTLE -> landed = 1; printf("tick %d: generation %d of %d lands\n", now, g, me);
       assert(stands[g % R] == 0 || by[g % R] == me+1 || relied[1-me] != stands[g % R] || stands[g % R] <= base[me]);
       stands[g % R] = g; by[g % R] = me+1; inc[g % R] = life }
  :: d_step { flight == 2 && (landed || now - sent > SETTLE) -> flight = 0; landed = 0 }
  /* it reads the headers: its ticket stands, and nothing newer is there that is not its own */
  :: d_step { step == INSIDE && flight == 0 && (g != 0 || now - saw > PROMPT) ->
       i = 0; top = 0; saw = now;
       do :: i < R -> if :: stands[i] != 0 && by[i] != me+1 && (inc[i] > ownInc || (inc[i] == ownInc && stands[i] > base[me])) -> top = 1 :: else fi; i++ :: else -> break od; i = 0;
       if
#ifndef BUG_NOTICKET
       :: ticket != mine || top -> step = OUTSIDE
       :: ticket == mine && !top ->
#else
       :: top -> step = OUTSIDE
       :: !top ->
#endif
            if :: g == 0 -> skip :: g != 0 && stands[g % R] == g && by[g % R] == me+1 -> relied[me] = g; printf("tick %d: %d goes by generation %d\n", now, me, g) :: else -> step = OUTSIDE fi
       fi; g = 0; top = 0 }
  od
}

init { atomic { run Clock(); run Machine(0); run Machine(1) } }
