package filesystem

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-ha/holdfast/resources"
	"github.com/holdfast-ha/holdfast/storage/mount"
)

// Watch implements resources.Watcher by the kernel's word that the mount table has
// changed. Where that cannot be had the checks have to do.
func (Agent) Watch(ctx context.Context, members func() []resources.Watched, changed func(resources.Watched, string)) {
	told := map[string]string{}
	for ctx.Err() == nil {
		_ = mount.Changes(ctx, func() {
			table, err := mount.Own()
			if err != nil {
				return
			}
			now := map[string]string{}
			for _, m := range members() {
				key := m.Service + " " + m.Member
				if now[key] = lost(m, table); now[key] != "" && now[key] != told[key] {
					changed(m, now[key])
				}
			}
			told = now
		})
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
		}
	}
}

// lost says what is wrong with a member by the mount table alone.
func lost(m resources.Watched, table []mount.Mount) string {
	spec, err := parse(resources.Request{Spec: m.Spec})
	if err != nil {
		return ""
	}
	top, taken := mount.At(table, spec.At)
	switch {
	case !taken:
		return fmt.Sprintf("nothing is mounted at %s any more", spec.At)
	case top.SuperblockReadOnly() && !strings.Contains(","+spec.Options+",", ",ro,"):
		return spec.At + " has become read-only"
	case spec.network() && top.Source != spec.Device:
		return fmt.Sprintf("%s is mounted at %s, not %s", top.Source, spec.At, spec.Device)
	}
	return ""
}
