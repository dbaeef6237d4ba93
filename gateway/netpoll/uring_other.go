//go:build unix && !linux

package netpoll

import (
	"errors"
	"fmt"
)

// Ring is Linux's io_uring, which this system does not have.
type Ring struct{}

// NewRing always fails here: Write does without.
func NewRing(entries int, done func(token uint64, n int, err error)) (*Ring, error) {
	return nil, fmt.Errorf("io_uring: only Linux has it: %w", errors.ErrUnsupported)
}

// Send is never called, as there is no Ring to be had.
func (r *Ring) Send(fd int, b []byte, token uint64) {}

// Pending is how many sends are in the batch.
func (r *Ring) Pending() int { return 0 }

// Flush sends the batch.
func (r *Ring) Flush() {}

// Close gives the ring back.
func (r *Ring) Close() error { return nil }
