package vm_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"regexp"
	"testing"
	"time"

	"github.com/holdfast-ha/holdfast/test/vm/cluster"
	"github.com/holdfast-ha/holdfast/test/vm/faults"
)

var (
	only     = flag.String("fault", "", "only the faults whose names match this regular expression")
	document = flag.Bool("document", false, "write the table of what came of each fault into docs/VM.md")
)

// TestMatrix makes every fault once, on one cluster. What has to come of it is the table's word; that there was one owner at a
// time, and that nothing confirmed was lost, is the judge's.
func TestMatrix(t *testing.T) {
	whole(t)
	name, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	f := cluster.OpenFull(t)
	for _, n := range f.Nodes {
		if err := n.Counted(t.Context()); err != nil {
			t.Error(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	var results []faults.Result
	for _, fault := range faults.All() {
		if !name.MatchString(fault.Name) {
			continue
		}
		if !t.Run(fault.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
			defer cancel()
			r, err := faults.Play(ctx, f, fault, random, nil)
			if errors.Is(err, faults.ErrNotMade) { // a command was refused, or a machine did not answer: once that is an accident
				t.Log("made once more: ", err)
				r, err = faults.Play(ctx, f, fault, random, nil)
			}
			t.Log(r)
			for _, n := range r.Notes {
				t.Log(n)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Wrong(); err != nil {
				t.Error(err)
			}
			for _, crime := range f.Judge.Crimes() {
				t.Error(crime)
			}
			if !t.Failed() {
				results = append(results, r)
			}
		}) && len(results) == 0 {
			t.Fatal("the first fault did not go as wanted: the cluster is not what the others need")
		}
	}
	ctx := f.Context(5 * time.Minute)
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
	t.Log(f.Judge.Sum())
	if *document {
		if err := faults.Write("../../docs/VM.md", results); err != nil {
			t.Error(err)
		}
	}
}
