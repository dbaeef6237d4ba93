package gateway

import (
	"bytes"
	"encoding/json"

	"tidings/fanout/wire"
	"tidings/gateway/frame"
)

// appendEvent puts a text of tidings.v1 behind dst as an event (WHATWG HTML, 9.2.5), whose id is the cursor. In front may stand further
// lines. An event without an id leaves the browser's last one as it is.
func appendEvent(dst []byte, front string, cursor, text []byte) []byte {
	dst = append(dst, front...)
	if len(cursor) > 0 {
		dst = append(dst, "id: "...)
		dst = append(dst, cursor...)
		dst = append(dst, '\n')
	}
	dst = append(dst, "data: "...)
	from := len(dst)
	dst = append(dst, text...)
	unbreak(dst[from:])
	return append(dst, "\n\n"...)
}

// unbreak makes one line of a JSON text: line breaks stand between its tokens only, where a space is as good.
func unbreak(text []byte) {
	for _, c := range []byte("\n\r") {
		for at := bytes.IndexByte(text, c); at >= 0; at = bytes.IndexByte(text, c) {
			text[at] = ' '
		}
	}
}

// appendNotificationEvent is appendEvent for a notification, as notificationFrame makes it.
func appendNotificationEvent(dst, text []byte) []byte {
	var cursor []byte
	if rest, ok := bytes.CutPrefix(text, []byte(notificationHead)); ok {
		cursor, _, _ = bytes.Cut(rest, []byte{'"'})
	}
	return appendEvent(dst, "", cursor, text)
}

// appendCloseEvent is the last event of a stream: what a close frame would say.
func appendCloseEvent(dst []byte, code CloseCode, reason string) []byte {
	text, err := json.Marshal(struct {
		Code   CloseCode `json:"code"`
		Reason string    `json:"reason"`
	}{code, reason})
	if err != nil { // cannot be
		text = []byte("{}")
	}
	return appendEvent(dst, "event: close\n", nil, text)
}

// silentEvent is a comment: it keeps proxies from taking a stream for dead, and a page does not see it.
var silentEvent = []byte(":\n\n")

// tell sends a text of tidings.v1 that is for this session alone; cursor is the one in it. It is not for the plain dialect.
func (s *Session) tell(text []byte, cursor wire.Cursor) {
	if s.dialect == eventStream {
		s.sendControl(appendEvent(nil, "", cursor.Append(nil), text))
		return
	}
	s.sendControl(frame.AppendText(nil, text))
}
