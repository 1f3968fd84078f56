package play

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// besideWithin is failover_within with DEMO_BMC=1 unless a flag says otherwise.
// A controller takes seconds to switch and to answer, whatever is configured:
// where the wait by time is as short as that, none is faster.
const besideWithin = 20 * time.Second

// environment reads what the environment asks for.
func environment(s *settings) error {
	if s.fault = os.Getenv("DEMO_FAULT"); s.fault == "" {
		s.fault = "kill"
	}
	f, ok := faults()[s.fault]
	if !ok {
		return fmt.Errorf("DEMO_FAULT=%s: want one of %s", s.fault, strings.Join(faultNames(), ", "))
	}
	switch mode := os.Getenv("DEMO"); mode {
	case "":
	case "active-active":
		s.pair = true
	default:
		return fmt.Errorf("DEMO=%s: want active-active, or nothing", mode)
	}
	switch disks := os.Getenv("DEMO_DISKS"); disks {
	case "", "1":
		s.disks = 1
	case "3":
		s.disks = 3
	default:
		return fmt.Errorf("DEMO_DISKS=%s: want 1 or 3", disks)
	}
	if f.three && s.disks != 3 {
		return fmt.Errorf("DEMO_FAULT=%s needs three quorum disks, for of one none can be lost: make demo DEMO_DISKS=3 DEMO_FAULT=%s", s.fault, s.fault)
	}
	if text := os.Getenv("DEMO_SECONDS"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n < 0 || n > 3600 {
			return fmt.Errorf("DEMO_SECONDS=%s: want a number of seconds", text)
		}
		s.cut = time.Duration(n * float64(time.Second))
	}
	return s.readBMC()
}

func (s *settings) readBMC() error {
	switch text := os.Getenv("DEMO_BMC"); text {
	case "", "0":
		return nil
	case "1":
	default:
		return fmt.Errorf("DEMO_BMC=%s: want 1, or nothing", text)
	}
	switch {
	case s.bench > 0:
		return errors.New("DEMO_BMC=1 and -bench: choose one")
	case !faults()[s.fault].silent:
		return fmt.Errorf("DEMO_BMC=1 compares proofs of the death of a node that fell silent: with DEMO_FAULT=%s there is none; want kill or freeze", s.fault)
	}
	s.bmc = true
	if s.within == 0 {
		s.within = besideWithin
	}
	return nil
}

func faultNames() []string {
	var names []string
	for name := range faults() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
