package loadgen

// tally is what one process has counted since the last reset.
type tally struct {
	report Report
	ways   [40 << bucketBits]int64 // Report.Ways: an array, since it is written to for every delivery
}

func (t *tally) delivered(at, now int64) {
	r := &t.report
	if r.Deliveries == 0 {
		r.First = now
	}
	r.Deliveries++
	r.Last = now
	r.Max = max(r.Max, now-at)
	t.ways[min(bucket(now-at), len(t.ways)-1)]++
}

func (t *tally) failed(err error) {
	t.report.Failed++
	if t.report.Error == "" {
		t.report.Error = err.Error()
	}
}

// forget is a reset: what is open or has failed remains.
func (t *tally) forget() {
	t.report = Report{Open: t.report.Open, Failed: t.report.Failed, Error: t.report.Error}
	clear(t.ways[:])
}

func (t *tally) histogram() Histogram {
	h := Histogram{}
	for b, n := range t.ways {
		if n > 0 {
			h[b] = n
		}
	}
	return h
}
