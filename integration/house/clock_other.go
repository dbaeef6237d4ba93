//go:build !(linux && amd64)

package house

import (
	"errors"
	"time"
)

// ShiftClock is for Linux on amd64.
func (p *Process) ShiftClock(time.Duration) error {
	return errors.New("the clock of one process cannot be set on this system: only on Linux, amd64")
}
