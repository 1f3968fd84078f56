/* grace.pml - network grace: services outlive the loss of the quorum disks.
 *
 * X holds services and may lose its disks; Y is the other node: a member, an outsider that boots, or joining.
 * X feeds while its lease is younger than F, or while until and G allow: cluster/lease End, cluster/grace Asker and
 * Node.extend (until counts from the sending of the request that every member of the acknowledged view answered).
 * Y promises: Known.Refuse, Promises.Make. It proves by time after W once its last promise is W old (Promises.Last,
 * Node.Free), or after WC where it is no insider (Insider). It joins in two commits: decide.allAcked.
 * A proof is only committed on a base in which the fencing stands (decide.reviseEnd): chosen first, proven later.
 * What must hold: a proof stands only when X's watchdog has reset it.
 *
 * One watchdog, check and feed apart: m = 2. NOSECOND: the guard may die while it is bound and nobody else holds the
 * descriptor, so that the kernel feeds once more: m = 3.
 */
#ifndef F
#define F 1
#endif
#ifndef T
#define T 2
#endif
#ifndef G
#define G 3
#endif
#ifdef NOSECOND
#define M 3
#else
#define M 2
#endif
#ifndef W
#define W (F+M*T)
#endif
#ifndef WC
#define WC (G+M*T)
#endif
#ifndef VMAX
#define VMAX 4
#endif
/* the register: view, what Y is in it, whether that is Y's present incarnation, X's fencing */
byte view = 1, phase = 2;  /* 0 out, 1 joining, 2 member */
bit mine = 1, fencing;
/* X */
bit up = 1, dying, pet; byte dog = T;
byte beat, since, age = G+1;
byte knows = 1; bit asksY = 1; byte acked = 1;
byte ask, asked, held = F+1;   /* request: 0 none, 1 sent, 2 answered; its age; age of what until counts from */
/* Y */
bit yup = 1, member = 1, fenced, proof, proven;
bit changed, reading; byte still, promised;

#ifdef BUG_NOBOUND
#define BOUND 1
#else
#define BOUND (age <= G)
#endif
#define MAYFEED (age <= F || (BOUND && (!asksY || held <= F)))
#ifdef BUG_OUTSIDERSHORT
#define OUT W
#else
#define OUT WC
#endif
#ifdef BUG_NOBOOK
#define FREE 1
#else
#define FREE (promised >= W)
#endif
#define STALE ((member && still >= W && FREE) || (!member && still >= OUT))

active proctype World() {
  do
  /* ---- X ---- */
  :: d_step { up && !dying && beat == 0 -> beat = 1; since = 0 }
  :: d_step { beat == 1 -> beat = 2; changed = 1 }
  :: d_step { up && !dying && beat == 2 -> beat = 0; age = since; since = 0 }
  :: d_step { up && !dying && knows != view -> knows = view; asksY = (phase != 0) }
  :: d_step { up && !dying && acked < knows -> acked = knows }
  :: d_step { up && !dying && asksY && ask == 0 -> ask = 1; asked = 0 }
#ifdef BUG_REPLYTIME
  :: d_step { up && !dying && ask == 2 -> ask = 0; held = 0; asked = 0 }
#else
  :: d_step { up && !dying && ask == 2 -> ask = 0; held = asked; asked = 0 }
#endif
  :: d_step { ask != 0 -> ask = 0; asked = 0 }
  :: d_step { up && !dying && !pet && MAYFEED -> pet = 1 }
  :: d_step { up && !dying && pet -> pet = 0; dog = T }
#ifdef NOSECOND
  :: d_step { up && !dying -> printf("guard killed, the kernel feeds once more\n"); dying = 1; pet = 0; dog = T; if :: beat == 2 -> beat = 0; since = 0 :: else fi }
#endif
  /* ---- Y ---- */
#ifdef BUG_PROMISEFENCED
  :: d_step { yup && member && ask == 1 && !proven -> ask = 2; promised = 0 }
#else
  :: d_step { yup && member && ask == 1 && !proven && !fenced -> ask = 2; promised = 0; reading = 0; proof = 0 }
#endif
  :: d_step { yup && !fencing && !proven && (member || still > F) -> printf("fencing chosen\n"); fencing = 1; fenced = 1 }
  :: d_step { yup && fencing && !fenced -> fenced = 1 }
  :: d_step { yup && !member && phase == 2 && mine -> printf("Y is a member\n"); member = 1; reading = 0; proof = 0;
#ifdef BUG_JOINOLD
       promised = W
#else
       promised = 0
#endif
     }
  :: d_step { yup && !mine && view < VMAX -> view++; mine = 1;
#ifdef BUG_ONESTEPJOIN
       phase = 2
#else
       phase = 1
#endif
     }
  :: d_step { phase == 1 && acked >= view && view < VMAX -> printf("joins\n"); view++; phase = 2 }
  :: d_step { !yup && phase != 0 && view < VMAX -> view++; phase = 0 }   /* Y's old incarnation is proven dead */
  :: d_step { yup -> printf("Y dies\n"); yup = 0; member = 0; mine = 0; fenced = 0; still = 0; reading = 0; proof = 0; promised = 0 }
  :: d_step { !yup -> printf("Y boots\n"); yup = 1; changed = 1 }
  :: d_step { yup && member -> printf("Y's daemon restarts\n"); reading = 0; proof = 0; still = 0; fenced = 0;
#ifdef BUG_RESTARTFORGETS
       promised = W
#else
       promised = 0
#endif
     }
  :: d_step { yup && !proven && !proof && !reading && !changed && STALE -> reading = 1 }
  :: d_step { yup && reading -> reading = 0; if :: changed -> changed = 0; still = 0 :: else -> proof = 1 fi }
  :: d_step { yup && proof && fenced -> proof = 0; proven = 1; printf("proof\n"); assert(!up) }
  :: d_step { yup && !reading && changed -> changed = 0; still = 0; proof = 0 }
  /* ---- time ---- */
  :: d_step { 1 ->
       if :: beat != 0 && since <= G -> since++ :: else fi; if :: up && age <= G -> age++ :: else fi;
       if :: ask != 0 && asked <= F -> asked++ :: else fi; if :: up && held <= F -> held++ :: else fi;
       if :: yup && still < WC -> still++ :: else fi; if :: yup && promised < W -> promised++ :: else fi;
       if :: up -> dog--;
             if :: dog == 0 -> up = 0; dying = 0; pet = 0; age = 0; held = 0; ask = 0; asked = 0; if :: beat == 2 -> beat = 0; since = 0 :: else fi :: else fi
          :: else fi }
  od
}
