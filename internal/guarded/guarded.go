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
