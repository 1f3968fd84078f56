package incidents

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// sorted walks a map by its keys: what is told must not depend on chance.
func sorted[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if v, is := m[k]; is && !yield(k, v) {
				return
			}
		}
	}
}
