package watchdog

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func testSetting() Setting {
	return Setting{
		Node: "alpha", HostUUID: "4c4c4544-0042-3510-8051-b4c04f4e3732", Device: "iTCO_wdt", Driver: "iTCO_wdt",
		DriverParameters: []string{"heartbeat=30", "nowayout=Y"}, Firmware: "Vendor 1.2 06/05/2023",
		KernelRelease: "6.12.43", Timeout: 2 * time.Second,
	}
}

func testRuns() []Run {
	return []Run{
		{RunStarve, 2030 * time.Millisecond},
		{RunStarve, 2041 * time.Millisecond},
		{RunStarve, 2010 * time.Millisecond},
		{RunGuardDeath, 2003 * time.Millisecond},
	}
}

func testQualification(t *testing.T) Qualification {
	t.Helper()
	q, err := NewQualification(testSetting(), testRuns(), time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestTMaxIsTheLongestRunAndATenth(t *testing.T) {
	if got := testQualification(t).TMax; got != 2245100*time.Microsecond {
		t.Errorf("t_max %v, want 1.1 times 2.041 s", got)
	}
}

func TestQualificationSurvivesItsFile(t *testing.T) {
	q := testQualification(t)
	path := filepath.Join(t.TempDir(), "hw.json")
	if err := SaveQualification(path, q); err != nil {
		t.Fatal(err)
	}
	got, err := LoadQualification(path)
	if err != nil || !reflect.DeepEqual(got, q) {
		t.Fatalf("loaded %+v, %v, want %+v", got, err, q)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", st.Mode(), err)
	}
	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadQualification(path); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("a file that others may write gave %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The format is final: this file must be read, and written, for ever.
const golden = `{"format":"holdfast-watchdog-qualification","version":1,"node":"alpha",` +
	`"host_uuid":"4c4c4544-0042-3510-8051-b4c04f4e3732","device":"iTCO_wdt","driver":"iTCO_wdt",` +
	`"driver_parameters":["heartbeat=30","nowayout=Y"],"firmware":"Vendor 1.2 06/05/2023",` +
	`"kernel_release":"6.12.43","timeout_ns":2000000000,"emulated":false,` +
	`"runs":[{"kind":"starve","actual_ns":2030000000},{"kind":"starve","actual_ns":2041000000},` +
	`{"kind":"starve","actual_ns":2010000000},{"kind":"guard-death","actual_ns":2003000000}],` +
	`"t_max_ns":2245100000,"when":"2026-01-31T12:00:00Z"}`

func TestQualificationFormat(t *testing.T) {
	q := testQualification(t)
	b, err := q.MarshalJSON()
	if err != nil || string(b) != golden {
		t.Errorf("wrote %s, %v\nwant  %s", b, err, golden)
	}
	var got Qualification
	if err := got.UnmarshalJSON([]byte(golden)); err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestQualificationReaderIsStrict(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"version", `"version":1`, `"version":2`, "measure the device anew"},
		{"format", "holdfast-watchdog-qualification", "other", "format"},
		{"unknown field", `"version":1,`, `"version":1,"more":1,`, "fields"},
		{"unknown for known", `"emulated":false`, `"simulated":false`, "unknown field"},
		{"missing field", `"emulated":false,`, ``, "fields"},
		{"shortened bound", `"t_max_ns":2245100000`, `"t_max_ns":2000000000`, "t_max"},
		{"too few runs", `{"kind":"starve","actual_ns":2030000000},`, ``, "runs"},
		{"no guard death", `{"kind":"guard-death","actual_ns":2003000000}`, `{"kind":"starve","actual_ns":2003000000}`, "runs"},
		{"unknown kind", `"kind":"guard-death"`, `"kind":"guess"`, "kind"},
		{"no measurement", `"actual_ns":2030000000`, `"actual_ns":3`, "no reset"},
		{"no node", `"node":"alpha"`, `"node":""`, "named"},
		{"no number", `"timeout_ns":2000000000`, `"timeout_ns":"2s"`, "timeout_ns"},
		{"cut short", `Z"}`, `Z"`, "JSON"},
		{"trailing", `Z"}`, `Z"}{}`, "after"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(golden, tt.old, tt.new, 1)
			if text == golden {
				t.Fatal("the test changes nothing")
			}
			path := filepath.Join(t.TempDir(), "q.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if q, err := LoadQualification(path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("loaded %+v, %v, want an error with %q", q, err, tt.want)
			}
		})
	}
}

func TestQualificationCountsOnlyWhereAllIsTheSame(t *testing.T) {
	q := testQualification(t)
	if reasons := q.Matches(testSetting()); len(reasons) != 0 {
		t.Fatalf("the same setting does not match: %v", reasons)
	}
	for want, change := range map[string]func(*Setting){
		"node":       func(s *Setting) { s.Node = "beta" },
		"host":       func(s *Setting) { s.HostUUID = "x" },
		"device":     func(s *Setting) { s.Device = "i6300ESB timer" },
		"driver ":    func(s *Setting) { s.Driver = "i6300esb" },
		"parameters": func(s *Setting) { s.DriverParameters = []string{"heartbeat=30"} },
		"firmware":   func(s *Setting) { s.Firmware = "Vendor 1.3" },
		"kernel":     func(s *Setting) { s.KernelRelease = "6.12.44" },
		"timeout":    func(s *Setting) { s.Timeout = 3 * time.Second },
		"platform":   func(s *Setting) { s.Emulated = true },
	} {
		s := testSetting()
		change(&s)
		if reasons := q.Matches(s); len(reasons) != 1 || !strings.Contains(reasons[0], want) {
			t.Errorf("changed %s: reasons %v", want, reasons)
		}
	}
}

func TestSettingOfThisMachine(t *testing.T) {
	s, err := SettingOf("alpha", "host", Info{Path: "/dev/watchdog-none", Identity: "x", Timeout: time.Second})
	if err != nil || s.KernelRelease == "" || s.DriverParameters == nil {
		t.Errorf("setting %+v, %v", s, err)
	}
}
