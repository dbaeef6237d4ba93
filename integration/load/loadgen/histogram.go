package loadgen

import "math/bits"

// Histogram counts durations in buckets that grow with them: 32 to a doubling, so that a percentile is at most 3 % too high.
// Its zero value is empty. As JSON it is a map of the buckets that are not empty.
type Histogram map[int]int64

const bucketBits = 5

// Add counts one duration, in nanoseconds. One below zero, which only a clock that was set can give, counts as zero.
func (h Histogram) Add(ns int64) { h[bucket(ns)]++ }

// Merge adds what other has counted.
func (h Histogram) Merge(other Histogram) {
	for b, n := range other {
		h[b] += n
	}
}

// Quantile is the upper end of the bucket in which the q-th part of the durations ends, in nanoseconds; 0 of an empty
// Histogram.
func (h Histogram) Quantile(q float64) int64 {
	var total, most int64
	last := 0
	for b, n := range h {
		total += n
		last = max(last, b)
	}
	rank := int64(q*float64(total) + 0.5)
	for b := 0; b <= last; b++ {
		if most += h[b]; most > 0 && most >= rank {
			return upper(b)
		}
	}
	return 0
}

func bucket(ns int64) int {
	v := uint64(max(ns, 0))
	exp := bits.Len64(v >> bucketBits)
	if exp == 0 {
		return int(v)
	}
	return exp<<bucketBits + int(v>>(exp-1))&(1<<bucketBits-1)
}

func upper(b int) int64 {
	exp, rest := b>>bucketBits, int64(b&(1<<bucketBits-1))
	if exp == 0 {
		return rest
	}
	return (rest+1<<bucketBits+1)<<(exp-1) - 1
}
