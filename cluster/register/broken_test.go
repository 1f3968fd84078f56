package register_test

import "testing"

// recorder takes the place of the test while a world is broken on purpose.
type recorder struct{ *testing.T }

type noticed struct{}

func (recorder) Fatalf(string, ...any) { panic(noticed{}) }

// notices says that the oracle, or the convergence at the end, noticed a
// mistake within so many runs.
func notices(t *testing.T, b broken, disks, runs int) (seen bool) {
	for seed := range runs {
		func() {
			defer func() {
				if r := recover(); r != nil {
					if _, ok := r.(noticed); !ok {
						panic(r)
					}
					seen = true
				}
			}()
			w := newWorld(recorder{t}, uint64(seed), 3, disks)
			w.broken = b
			for range 4000 {
				w.step(true)
			}
			w.settle()
		}()
		if seen {
			return true
		}
	}
	return false
}

// TestOracleNoticesBrokenRegisters: a random test that nothing can fail would
// prove nothing. Every rule of the register that is broken here was broken by
// somebody's product once.
func TestOracleNoticesBrokenRegisters(t *testing.T) {
	cases := map[string]broken{
		"the read is not ordered after the write": {readEarly: true},
		"phase 1 ignores what others accepted":    {blind: true},
		"the block is cleared after the commit":   {tidy: true},
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			for _, disks := range []int{1, 3} {
				if !notices(t, b, disks, 200) {
					t.Errorf("not noticed with %d disks in 200 runs", disks)
				}
			}
		})
	}
}
