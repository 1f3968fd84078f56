package scripttest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
)

// setting takes a line about the cluster; false if it is none.
func (s *Script) setting(words []string) (bool, error) {
	switch words[0] {
	case "nodes", "seeds":
		n, err := number(words)
		if words[0] == "nodes" {
			s.opt.Nodes = n
		} else {
			s.Seeds = n
		}
		return true, err
	case "disks":
		s.Disks = nil
		for _, w := range words[1:] {
			n, err := strconv.Atoi(w)
			if err != nil || n != 1 && n != 3 {
				return true, fmt.Errorf("%q quorum disks: there are 1 or 3", w)
			}
			s.Disks = append(s.Disks, n)
		}
		return true, nil
	case "within":
		var err error
		s.opt.Within, err = span(words, 1)
		return true, err
	case "on-disk-loss":
		return true, s.onDiskLoss(words)
	case "partition", "quarantine", "offers":
		return true, s.rule(words)
	case "service":
		return true, s.service(words)
	case "ways":
		return true, s.ways(words)
	}
	return false, nil
}

// onDiskLoss reads "on-disk-loss keep" and "on-disk-loss stop 30s".
func (s *Script) onDiskLoss(words []string) (err error) {
	switch {
	case len(words) == 2 && words[1] == "keep":
		s.opt.Keep = true
	case len(words) == 3 && words[1] == "stop":
		s.opt.Grace, err = time.ParseDuration(words[2])
	default:
		err = errors.New("want keep, or stop and a time")
	}
	return err
}

// rule reads "partition evict", "quarantine 2 in 10m for 5m" and "offers alpha memory 16".
func (s *Script) rule(words []string) error {
	if words[0] == "offers" {
		return s.offers(words)
	}
	if words[0] == "partition" && len(words) == 2 && words[1] == "evict" {
		s.rules = append(s.rules, func(c *cluster.Config) { c.Evict = true })
		return nil
	}
	if words[0] != "quarantine" || len(words) != 6 {
		return fmt.Errorf("%q is no rule of a cluster", words)
	}
	count, err := strconv.Atoi(words[1])
	within, errIn := time.ParseDuration(words[3])
	lasts, errFor := time.ParseDuration(words[5])
	s.rules = append(s.rules, func(c *cluster.Config) {
		c.Quarantine = cluster.FlapRule{Budget: cluster.Budget{Count: count, Within: within}, For: lasts}
	})
	return errors.Join(err, errIn, errFor)
}

// offers reads "offers alpha memory 16".
func (s *Script) offers(words []string) error {
	if len(words) != 4 || !isNode(words[1]) {
		return errors.New("want the node, what it offers, and how much of that")
	}
	n, err := strconv.ParseInt(words[3], 10, 64)
	s.rules = append(s.rules, func(c *cluster.Config) {
		c.Offers = append(c.Offers, cluster.Offer{Node: words[1], Has: []cluster.Amount{{Name: words[2], Value: n}}})
	})
	return err
}

func number(words []string) (int, error) {
	if len(words) != 2 {
		return 0, fmt.Errorf("%s takes one number", words[0])
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: %q is no number from 1 on", words[0], words[1])
	}
	return n, nil
}

func span(words []string, i int) (time.Duration, error) {
	if i >= len(words) {
		return 0, fmt.Errorf("%s takes a time, as 10s", words[0])
	}
	return time.ParseDuration(words[i])
}

// service reads "service orders prefer alpha beta restarts 2 in 15m": the name,
// then keys of the configuration with their values.
func (s *Script) service(words []string) error {
	if len(words) < 2 {
		return errors.New("a service has a name")
	}
	svc := cluster.Service{Name: words[1], Stack: []cluster.Member{{ID: "exec", Kind: "exec", CheckEvery: time.Second}}}
	for rest := words[2:]; len(rest) > 0; {
		n := 1
		for n < len(rest) && !isKey(rest[n]) {
			n++
		}
		if err := serviceKey(&svc, rest[0], rest[1:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	count := svc.Copy.Number
	if count == 0 {
		s.opt.Services = append(s.opt.Services, svc)
		return nil
	}
	for n := 1; n <= count; n++ { // as the reader of the configuration makes them
		one := svc
		one.Name, one.Copy, one.ApartFrom = cluster.CopyName(svc.Name, n), cluster.Copy{Of: svc.Name, Number: n}, nil
		for o := 1; o < n; o++ {
			one.ApartFrom = append(one.ApartFrom, cluster.CopyName(svc.Name, o))
		}
		s.opt.Services = append(s.opt.Services, one)
	}
	return nil
}

func isKey(w string) bool {
	switch w {
	case "prefer", "only", "avoid", "start-after", "with", "apart-from", "failback", "restarts", "priority", "quick-stop", "needs", "checks", "stop-grace", "copies", "stack":
		return true
	}
	return false
}

func serviceKey(svc *cluster.Service, key string, values []string) (err error) {
	lists := map[string]*[]string{
		"prefer": &svc.Prefer, "only": &svc.Only, "avoid": &svc.Never,
		"start-after": &svc.After, "with": &svc.With, "apart-from": &svc.ApartFrom,
	}
	if l := lists[key]; l != nil {
		*l = values
		return nil
	}
	switch {
	case key == "quick-stop":
		svc.QuickStop = true
	case key == "failback":
		svc.Failback = cluster.Failback{Mode: cluster.Automatic}
		if len(values) == 2 && values[0] == "after" {
			svc.Failback.After, err = time.ParseDuration(values[1])
		}
	case key == "priority" && len(values) == 1:
		svc.Priority, err = strconv.Atoi(values[0])
	case key == "needs" && len(values) == 2:
		a := cluster.Amount{Name: values[0]}
		a.Value, err = strconv.ParseInt(values[1], 10, 64)
		svc.Needs = append(svc.Needs, a)
	case key == "copies" && len(values) == 1:
		svc.Copy.Number, err = strconv.Atoi(values[0])
	case key == "checks" && len(values) == 3:
		_, err = fmt.Sscanf(strings.Join(values, " "), "%d of %d", &svc.Patience.Fails, &svc.Patience.Of)
	case key == "stop-grace" && len(values) == 1:
		svc.Patience.Stop, err = time.ParseDuration(values[0])
	case key == "restarts" && len(values) == 3:
		svc.Restarts.Count, err = strconv.Atoi(values[0])
		if err == nil {
			svc.Restarts.Within, err = time.ParseDuration(values[2])
		}
	case key == "stack":
		svc.Stack = nil
		for _, v := range values {
			kind, flag, _ := strings.Cut(v, "/")
			m := cluster.Member{ID: kind, Kind: kind, Storage: flag != "", Guarded: flag == "guarded", CheckEvery: time.Second}
			if m.Storage {
				m.Sole = kind + " of " + svc.Name
			}
			svc.Stack = append(svc.Stack, m)
		}
	default:
		return fmt.Errorf("a service has no %q %q", key, values)
	}
	return err
}

// ways reads "ways alpha bmc" and "ways all bmc reservation".
func (s *Script) ways(words []string) error {
	if len(words) < 3 {
		return errors.New("want the node, or all, and its ways")
	}
	nodes := []string{words[1]}
	if words[1] == "all" {
		nodes = nil
		for i := range s.opt.Nodes {
			nodes = append(nodes, nodeNames()[i])
		}
	}
	for _, n := range nodes {
		w := cluster.Ways{Node: n}
		for _, kind := range words[2:] {
			w.Ways = append(w.Ways, cluster.Way{Kind: kind})
		}
		s.opt.Fencing = append(s.opt.Fencing, w)
	}
	return nil
}

func nodeNames() []string { return []string{"alpha", "beta", "gamma", "delta", "epsilon"} }
