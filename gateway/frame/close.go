package frame

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Registered with IANA after the RFC; ws does not name them.
const (
	StatusServiceRestart ws.StatusCode = 1012
	StatusTryAgainLater  ws.StatusCode = 1013
	StatusBadGateway     ws.StatusCode = 1014
)

// CloseCode is the code in the payload of a close frame that a Reader gave.
//
// RFC 6455, 7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection Close Code_ is considered
// to be 1005."
func CloseCode(payload []byte) ws.StatusCode {
	if len(payload) < 2 {
		return ws.StatusNoStatusRcvd
	}
	return ws.StatusCode(binary.BigEndian.Uint16(payload))
}

// checkClose checks the payload of a close frame. ws.CheckCloseFrameData will not do: it refuses the codes registered after
// the RFC and lets those from 5000 pass.
func checkClose(p []byte) *ProtocolError {
	switch {
	case len(p) == 0:
		return nil
	// RFC 6455, 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte
	// order) representing a status code with value /code/ defined in Section 7.4."
	case len(p) == 1:
		return errCloseSize
	case !mayClose(CloseCode(p)):
		return errCloseCode
	// RFC 6455, 5.5.1: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data with value /reason/".
	case !utf8.Valid(p[2:]):
		return errCloseText
	}
	return nil
}

// mayClose tells whether a close frame may carry the code.
func mayClose(code ws.StatusCode) bool {
	switch {
	// RFC 6455, 7.4.1: 1004 "Reserved. The specific meaning might be defined in the future." 1005, 1006 and 1015: "a reserved
	// value and MUST NOT be set as a status code in a Close control frame by an endpoint."
	case code == ws.StatusNoMeaningYet, code.IsProtocolReserved():
		return false
	case ws.StatusNormalClosure <= code && code <= StatusBadGateway:
		return true
	// RFC 6455, 7.4.2: "Status codes in the range 0-999 are not used", those "in the range 1000-2999 are reserved for definition
	// by this protocol", 3000-3999 are for libraries and 4000-4999 for private use.
	default:
		return 3000 <= code && code <= 4999
	}
}
