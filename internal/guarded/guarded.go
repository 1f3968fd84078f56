// Package guarded reads from a cluster's configuration what its services say of
// reservations: which LUNs stand below the storage that they guard, and where the
// configuration does not make the use of them that it could.
package guarded

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-ha/holdfast/cluster"
)

// Devices lists the devices below the storage of a service, each once. A file system
// on a logical volume of a group in the same stack stands on the group's disks. A
// storage member that names none cannot be guarded: nobody could tell its LUNs. But
// sessions need not, if the members above name what they bring.
func Devices(s *cluster.Service) ([]string, error) {
	var list, groups []string
	var unnamed error
	for i := range s.Stack {
		m := &s.Stack[i]
		if !m.Storage || m.Kind == "multipath" { // which only watches the disk of another member
			continue
		}
		var spec struct {
			Device  string   `json:"device"`
			Devices []string `json:"devices"`
			Group   string   `json:"group"`
		}
		if err := json.Unmarshal(m.Spec, &spec); err != nil {
			return nil, fmt.Errorf("%s of service %s: %w", m.ID, s.Name, err)
		}
		if spec.Group != "" {
			groups = append(groups, "/dev/"+spec.Group+"/", "/dev/mapper/"+strings.ReplaceAll(spec.Group, "-", "--")+"-")
		}
		if slices.ContainsFunc(groups, func(g string) bool { return strings.HasPrefix(spec.Device, g) }) {
			continue
		}
		if spec.Device != "" {
			spec.Devices = append(spec.Devices, spec.Device)
		}
		if len(spec.Devices) == 0 {
			unnamed = fmt.Errorf("%s of service %s names no device: its LUNs cannot be guarded by reservations", m.ID, s.Name)
			if m.Kind == "iscsi" {
				continue
			}
			return nil, unnamed
		}
		for _, d := range spec.Devices {
			if !slices.Contains(list, d) {
				list = append(list, d)
			}
		}
	}
	if len(list) == 0 {
		return nil, unnamed
	}
	return list, nil
}

// Advice says which services are guarded by reservations while a node of names that
// may run them is not fenced by reservation: only the owner can write all the same,
// but when it fails, the storage waits for another proof of its end.
func Advice(c *cluster.Config, names []string) []string {
	if c == nil {
		return nil
	}
	var list []string
	said := map[string]bool{}
	for i := range c.Services {
		s := &c.Services[i]
		if !s.Guarded() || said[s.Family()] {
			continue
		}
		var lacking []string
		for _, n := range names {
			if s.Allows(n) && !slices.ContainsFunc(c.WaysOf(n), func(w cluster.Way) bool { return w.Kind == cluster.WayReservation }) {
				lacking = append(lacking, n)
			}
		}
		if said[s.Family()] = len(lacking) > 0; len(lacking) > 0 {
			list = append(list, fmt.Sprintf("%s is guarded by reservations, but reservation does not stand under fencing.ways of %s: when its owner fails there, its storage waits for another proof of that",
				s.Family(), strings.Join(lacking, ", ")))
		}
	}
	return list
}

// Left says what stays on LUNs and nodes when a configuration takes the guard of a
// service, or the service, away: nobody clears by himself what may still keep a node
// from writing whose end is not proven.
func Left(now, next *cluster.Config) []string {
	if now == nil || next == nil {
		return nil
	}
	used := map[string]bool{} // LUNs, and targets, that are guarded afterwards as well
	for i := range next.Services {
		for _, name := range below(&next.Services[i]) {
			used[name] = true
		}
	}
	var list []string
	for i := range now.Services {
		s := &now.Services[i]
		for _, name := range below(s) {
			switch {
			case used[name]:
			case strings.HasPrefix(name, "/"):
				list = append(list, fmt.Sprintf("the reservation of %s stays on %s, and nobody without a key can write there: once the service runs without its guard, or is gone, "+
					"clear it on a node that has a key there: sg_persist --out --clear --param-rk=KEY %s", s.Name, name, name))
			default:
				list = append(list, fmt.Sprintf("the sessions of %s with %s stay on every node until its next boot: iscsiadm -m node -T %s --logout", s.Name, name, name))
			}
			used[name] = true
		}
	}
	return list
}

// below lists the LUNs below a guarded service and the targets that hold them.
func below(s *cluster.Service) []string {
	if !s.Guarded() {
		return nil
	}
	list, _ := Devices(s) // what cannot be told has no key
	for i := range s.Stack {
		var spec struct {
			Target string `json:"target"`
		}
		if m := &s.Stack[i]; m.Kind == "iscsi" && m.Guarded && json.Unmarshal(m.Spec, &spec) == nil {
			list = append(list, spec.Target)
		}
	}
	return list
}
