package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"m/a"}
{"Action":"output","Package":"m/b","Test":"TestDisk","Output":"=== RUN   TestDisk\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"    a_test.go:3: chatter\n"}
{"Action":"output","Package":"m/b","Test":"TestDisk","Output":"    b_test.go:9: needs root: run make test as root\n"}
{"Action":"output","Package":"m/b","Test":"TestDisk","Output":"--- SKIP: TestDisk (0.00s)\n"}
{"Action":"skip","Package":"m/b","Test":"TestDisk"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/b","Output":"PASS\n"}
{"Action":"output","Package":"m/b","Output":"ok  \tm/b\t0.1s\n"}
{"Action":"pass","Package":"m/b"}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.1s\n"}
{"Action":"pass","Package":"m/a"}
`

func follow(t *testing.T, stream string) (*report, string) {
	t.Helper()
	var out bytes.Buffer
	r := newReport(&out)
	if err := r.read(strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	r.finish()
	return r, out.String()
}

func TestPackagesDoNotMixAndSkipsAreListedWithReason(t *testing.T) {
	r, out := follow(t, events)
	want := `    b_test.go:9: needs root: run make test as root
--- SKIP: TestDisk (0.00s)
ok  	m/b	0.1s
--- PASS: TestGood (0.00s)
ok  	m/a	0.1s

1 tests passed, 0 failed, 1 did not run
DID NOT RUN (1): needs root: run make test as root
	m/b TestDisk
`
	if out != want {
		t.Errorf("output:\n%s\nwant:\n%s", out, want)
	}
	if err := verdict(r, nil); err != nil {
		t.Errorf("verdict %v, want none", err)
	}
}

func TestFailureKeepsItsOutputAndFailsTheRun(t *testing.T) {
	r, out := follow(t, `{"Action":"output","Package":"m/a","Test":"TestBad","Output":"    a_test.go:3: got 1, want 2\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"m/a","Test":"TestBad"}
{"Action":"output","Package":"m/a","Output":"FAIL\tm/a\t0.1s\n"}
{"Action":"fail","Package":"m/a"}
`)
	for _, want := range []string{"got 1, want 2", "--- FAIL: TestBad", "FAIL\tm/a", "FAILED: m/a TestBad"} {
		if !strings.Contains(out, want) {
			t.Errorf("output without %q:\n%s", want, out)
		}
	}
	if verdict(r, nil) == nil {
		t.Error("the run counts as good")
	}
}

func TestPanicAndInterruptionCountAsFailures(t *testing.T) {
	started := `{"Action":"output","Package":"m/a","Test":"TestHang","Output":"panic: test timed out\n"}` + "\n"
	for name, stream := range map[string]string{"package ends": started + `{"Action":"fail","Package":"m/a"}`, "stream ends": started} {
		r, out := follow(t, stream)
		if len(r.failed) != 1 || !strings.Contains(out, "panic: test timed out") {
			t.Errorf("%s: failures %v, output:\n%s", name, r.failed, out)
		}
	}
}

func TestBuildErrorsAndStrangeLinesAreShown(t *testing.T) {
	_, out := follow(t, `{"ImportPath":"m/a","Action":"build-output","Output":"a.go:1: undefined: x\n"}`+"\nnot an event\n")
	if !strings.Contains(out, "undefined: x") || !strings.Contains(out, "not an event\n") {
		t.Errorf("output:\n%s", out)
	}
}

func TestVerdict(t *testing.T) {
	r, _ := follow(t, events)
	if verdict(r, errors.New("exit status 1")) == nil {
		t.Error("go test failed and the run counts as good")
	}
	if verdict(newReport(nil), nil) == nil {
		t.Error("nothing ran and the run counts as good")
	}
}
