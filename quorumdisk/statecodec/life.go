package statecodec

import (
	"time"

	"github.com/holdfast-ha/holdfast/cluster"
	"github.com/holdfast-ha/holdfast/cluster/ident"
	"github.com/holdfast-ha/holdfast/quorumdisk/wire"
)

// The least that these take.
const (
	minMaintenance = 8 + 8 + 4
	minNodeLife    = 1 + minIncarnation + 1 + 8 + 1 + 4 + 4 + 8 + 4 + minMaintenance
	minRemoved     = 1 + 4
)

func putLife(w *wire.Writer, l *cluster.Life) {
	w.U8(uint8(l.Protocol))
	w.I64(int64(l.Clock))
	putMaintenance(w, &l.Maintenance)
	w.Bool(l.Stop.On)
	w.Text(l.Stop.By)
	w.Count(len(l.Removed))
	for _, x := range l.Removed {
		w.U8(uint8(x.ID))
		w.U32(x.Dead)
	}
}

func getLife(r *wire.Reader) cluster.Life {
	l := cluster.Life{Protocol: cluster.Protocol(r.U8()), Clock: time.Duration(r.I64()), Maintenance: getMaintenance(r)}
	l.Stop = cluster.Stop{On: r.Bool(), By: r.Text()}
	for range r.Count(minRemoved) {
		l.Removed = append(l.Removed, cluster.Removed{ID: ident.NodeID(r.U8()), Dead: r.U32()})
	}
	return l
}

func putMaintenance(w *wire.Writer, m *cluster.Maintenance) {
	w.I64(int64(m.Until))
	w.I64(int64(m.Remind))
	w.Text(m.By)
}

func getMaintenance(r *wire.Reader) cluster.Maintenance {
	return cluster.Maintenance{Until: time.Duration(r.I64()), Remind: time.Duration(r.I64()), By: r.Text()}
}

func putNodeLife(w *wire.Writer, l *cluster.NodeLife) {
	w.U8(uint8(l.Protocol))
	w.Inc(l.Fenced.Inc)
	w.U8(uint8(l.Fenced.By))
	w.U64(l.Fenced.Ver)
	w.Bool(l.Fenced.Asked)
	w.Text(l.Fenced.Why)
	w.Count(len(l.Crashes))
	for _, at := range l.Crashes {
		w.I64(int64(at))
	}
	w.I64(int64(l.Quarantine.Until))
	w.Text(l.Quarantine.Why)
	putMaintenance(w, &l.Maintenance)
}

func getNodeLife(r *wire.Reader) cluster.NodeLife {
	l := cluster.NodeLife{Protocol: cluster.Protocol(r.U8())}
	l.Fenced = cluster.Fenced{Inc: r.Inc(), By: ident.NodeID(r.U8()), Ver: r.U64(), Asked: r.Bool(), Why: r.Text()}
	for range r.Count(8) {
		l.Crashes = append(l.Crashes, time.Duration(r.I64()))
	}
	l.Quarantine = cluster.Quarantine{Until: time.Duration(r.I64()), Why: r.Text()}
	l.Maintenance = getMaintenance(r)
	return l
}
