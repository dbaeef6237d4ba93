package gateway

import (
	"strconv"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
)

// compression is what was agreed of permessage-deflate (RFC 7692); without bits it is nothing. Neither side refers to earlier messages
// (no context takeover), so that a connection has no window to keep, and all connections can be sent the same bytes.
type compression struct {
	bits  byte // of the window in which we compress, 8 to 15
	named bool // the browser asked for so many
}

// negotiate takes the first offer of permessage-deflate that RFC 7692, 7.1, lets a server accept, if there is one.
func (up *upgrade) negotiate(lines []string) *refusal {
	for _, line := range lines {
		offers, ok := httphead.ParseOptions([]byte(line), nil)
		if !ok {
			return refuseExtensions
		}
		for _, offer := range offers {
			var p wsflate.Parameters
			if string(offer.Name) != wsflate.ExtensionName || p.Parse(offer) != nil {
				continue
			}
			// However large the window of the browser's compressor is, ours for reading is as large as any.
			up.compression = compression{bits: 15}
			if p.ServerMaxWindowBits.Defined() {
				up.compression = compression{byte(p.ServerMaxWindowBits), true}
			}
			return nil
		}
	}
	return nil
}

// append puts the field of the answer behind dst. RFC 7692, 7.1.1.2: "A server MAY include the "client_no_context_takeover" extension
// parameter in an extension negotiation response", and 7.1.2.1: "A server accepts an extension negotiation offer with this parameter by including the
// "server_max_window_bits" extension parameter in the extension negotiation response to send back to the client with the same or smaller
// value as the offer."
func (c compression) append(dst []byte) []byte {
	if c.bits == 0 {
		return dst
	}
	dst = append(dst, "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"...)
	if c.named {
		dst = append(dst, "; server_max_window_bits="...)
		dst = strconv.AppendUint(dst, uint64(c.bits), 10)
	}
	return dst
}
