// Package phrase reads the short phrases that a configuration writes as text,
// such as "3 in 15m" and "automatic after 10m". Each function says whether the
// phrase was one of its own.
package phrase

import (
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Failback reads manual, automatic, or automatic after DURATION; empty is manual.
func Failback(s string) (cluster.Failback, bool) {
	switch words := strings.Fields(s); {
	case len(words) == 0, len(words) == 1 && words[0] == "manual":
		return cluster.Failback{Mode: cluster.Manual}, true
	case len(words) == 1 && words[0] == "automatic":
		return cluster.Failback{Mode: cluster.Automatic}, true
	case len(words) == 3 && words[0] == "automatic" && words[1] == "after":
		d, err := time.ParseDuration(words[2])
		return cluster.Failback{Mode: cluster.Automatic, After: d}, err == nil && d >= 0
	}
	return cluster.Failback{}, false
}

// Quarantine reads off, or COUNT in DURATION for DURATION; empty is the default.
func Quarantine(s string) (cluster.FlapRule, bool) {
	switch s {
	case "":
		return cluster.FlapRule{Budget: cluster.Budget{Count: 3, Within: 15 * time.Minute}, For: time.Hour}, true
	case "off":
		return cluster.FlapRule{}, true
	}
	budget, rest, _ := strings.Cut(s, " for ")
	b, ok := Budget(budget)
	d, err := time.ParseDuration(strings.TrimSpace(rest))
	return cluster.FlapRule{Budget: b, For: d}, ok && err == nil && b.Count > 0 && d > 0 && d <= 30*24*time.Hour
}

// Every reads off, or every DURATION, of a day or more, where d stands for 24 hours;
// empty and off are 0.
func Every(s string) (time.Duration, bool) {
	if s == "" || s == "off" {
		return 0, true
	}
	text, ok := strings.CutPrefix(s, "every ")
	if days, is := strings.CutSuffix(text, "d"); ok && is {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err == nil && n >= 1 && n <= 3650
	}
	d, err := time.ParseDuration(text)
	return d, ok && err == nil && d >= 24*time.Hour && d <= 3650*24*time.Hour
}

// Budget reads COUNT in DURATION; empty is no budget.
func Budget(s string) (cluster.Budget, bool) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return cluster.Budget{}, true
	}
	if len(words) != 3 || words[1] != "in" {
		return cluster.Budget{}, false
	}
	n, err := strconv.Atoi(words[0])
	d, err2 := time.ParseDuration(words[2])
	return cluster.Budget{Count: n, Within: d}, err == nil && err2 == nil && n >= 0 && n <= 1000 && d > 0
}

// Checks reads COUNT of COUNT: how many of the latest checks have to fail; empty is
// one of one, which is the zero value.
func Checks(s string) (cluster.Patience, bool) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return cluster.Patience{}, true
	}
	if len(words) != 3 || words[1] != "of" {
		return cluster.Patience{}, false
	}
	n, err := strconv.Atoi(words[0])
	of, err2 := strconv.Atoi(words[2])
	return cluster.Patience{Fails: n, Of: of}, err == nil && err2 == nil && n >= 1 && n <= of && of <= 32
}

// Amount reads a whole number with K, M, G or T behind it, or none: powers of 1024.
func Amount(s string) (int64, bool) {
	shift := 0
	for k, unit := range []string{"K", "M", "G", "T"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			s, shift = rest, 10*(k+1)
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n << shift, err == nil && n >= 0 && n<<shift>>shift == n
}
