//go:build !(linux && amd64)

package house

import (
	"errors"
	"fmt"
	"time"
)

// ShiftClock is for Linux on amd64; here it fails with errors.ErrUnsupported.
func (p *Process) ShiftClock(time.Duration) error {
	return fmt.Errorf("the clock of one process can be set on Linux, amd64, alone: %w", errors.ErrUnsupported)
}
