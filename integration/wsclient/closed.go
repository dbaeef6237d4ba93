package wsclient

import (
	"errors"
	"fmt"

	"github.com/gobwas/ws"
)

// Closed is how a connection ended, as a page's onclose would see it.
type Closed struct {
	Code   int    // 1005 without a number, 1006 without a close frame
	Reason string // of the close frame
	Err    error  // of the socket, where there was no close frame
}

func (e *Closed) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("closed with %d: %v", e.Code, e.Err)
	}
	return fmt.Sprintf("closed with %d %q", e.Code, e.Reason)
}

func (e *Closed) Unwrap() error { return e.Err }

// CloseCode is the number in err if it is how a connection ended, else 0.
func CloseCode(err error) int {
	var c *Closed
	if errors.As(err, &c) {
		return c.Code
	}
	return 0
}

// lost is an end without a close frame.
func lost(err error) *Closed { return &Closed{Code: int(ws.StatusAbnormalClosure), Err: err} }

// closedBy reads a close frame.
func closedBy(payload []byte) *Closed {
	if len(payload) == 0 {
		return &Closed{Code: int(ws.StatusNoStatusRcvd)}
	}
	code, reason := ws.ParseCloseFrameData(payload)
	return &Closed{Code: int(code), Reason: reason}
}
