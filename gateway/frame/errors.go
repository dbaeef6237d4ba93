package frame

import (
	"fmt"

	"github.com/gobwas/ws"
)

// ProtocolError says which rule the browser broke, in the words and the number of the close frame that it is due.
// The values are shared: do not modify them.
type ProtocolError struct {
	Code   ws.StatusCode // 1002, 1003, 1007, 1008 or 1009
	Reason string        // at most 123 bytes
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("websocket: %s (%d)", e.Reason, e.Code) }

// They are made once, so that a flood of bad frames costs no allocation.
var (
	errReserved     = protocol("reserved bits set, but no extension was agreed")
	errCompressed   = protocol("a control frame or a continuation is marked as compressed")
	errUnmasked     = protocol("frame not masked")
	errOpcode       = protocol("unknown opcode")
	errControlFin   = protocol("control frame in fragments")
	errControlSize  = protocol("control frame longer than 125 bytes")
	errLength       = protocol("payload length not in its shortest form")
	errLengthSign   = protocol("payload length with its highest bit set")
	errContinuation = protocol("continuation of nothing")
	errInterleaved  = protocol("new data frame before the last fragment of the one before")
	errCloseSize    = protocol("close frame with a payload of one byte")
	errCloseCode    = protocol("close frame with a code that must not be sent")

	errBinary    = &ProtocolError{ws.StatusUnsupportedData, "binary frames are not understood here, send text"}
	errText      = &ProtocolError{ws.StatusInvalidFramePayloadData, "text is not valid UTF-8"}
	errCloseText = &ProtocolError{ws.StatusInvalidFramePayloadData, "reason of the close frame is not valid UTF-8"}
)

func protocol(reason string) *ProtocolError { return &ProtocolError{ws.StatusProtocolError, reason} }
