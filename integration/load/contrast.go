//go:build linux

package main

// view is what one window shows of the tabs, and of what the server spends.
type view struct {
	P50, P99, Max float64 // ms
	CPU           float64 // % of a core, of the process with the tabs

	// Of a window with bad peers.
	Own float64 // % of a core, of their process

	// Of the last of these.
	Resident      int64 // of the process with the tabs
	Live, Buffers int64 // what all peers hold: of the process's heap and stacks, and of the kernel's buffers
}

// windows are those of the part peers. One more is without bad peers than with them: each of the others has one before and one
// behind it.
type windows struct {
	Without, With []view
	Elsewhere     []view // with the same peers at another process
}

// contrast puts them beside each other.
func (r *result) contrast(peers int) {
	without, with := r.Windows.Without, r.Windows.With
	for _, c := range []struct {
		free, beside metric
		of           func(view) float64
	}{
		{freeP50, besideP50, func(w view) float64 { return w.P50 }},
		{freeP99, besideP99, func(w view) float64 { return w.P99 }},
		{freeMax, besideMax, func(w view) float64 { return w.Max }},
		{freeCPU, besideCPU, func(w view) float64 { return w.CPU }},
	} {
		r.Values[c.free], r.Values[c.beside] = middle(without, c.of), middle(with, c.of)
	}
	var ratios, own []float64
	for i, w := range with {
		own = append(own, w.P99/r.Windows.Elsewhere[i].P99)
		ratios = append(ratios, w.P99/((without[i].P99+without[i+1].P99)/2))
	}
	r.Values[besideRatio], r.Values[besideOwn] = median(ratios), median(own)
	r.Values[elsewhereP50] = middle(r.Windows.Elsewhere, func(w view) float64 { return w.P50 })
	r.Values[elsewhereP99] = middle(r.Windows.Elsewhere, func(w view) float64 { return w.P99 })
	r.Values[freeDrift] = without[len(without)-1].P99 / without[0].P99
	r.Values[peersOwn] = middle(with, func(w view) float64 { return w.Own })
	last := with[len(with)-1]
	r.Values[peersResident] = float64(last.Resident)
	r.Values[peersLive], r.Values[peersBuffers] = float64(last.Live)/float64(peers), float64(last.Buffers)/float64(peers)
}

func middle(list []view, of func(view) float64) float64 {
	var v []float64
	for _, w := range list {
		v = append(v, of(w))
	}
	return median(v)
}
