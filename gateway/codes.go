package gateway

import "fmt"

// CloseCode is the number in the close frame with which a connection ends. The browser decides by it alone whether to come
// back (protocol.md has the same table).
type CloseCode uint16

// RFC 6455, 7.4.2, gives 4000-4999 to applications; the numbers below 3000 are the protocol's own.
const (
	closeNormal       CloseCode = 1000
	closeGoingAway    CloseCode = 1001
	closeProtocol     CloseCode = 1002
	closeUnsupported  CloseCode = 1003
	closeInvalidText  CloseCode = 1007
	closeFlood        CloseCode = 1008
	closeTooBig       CloseCode = 1009
	closeDraining     CloseCode = 1012
	closeOverloaded   CloseCode = 1013
	closeSlow         CloseCode = 4008
	closeUnauthorized CloseCode = 4401
	closeForbidden    CloseCode = 4403
	closeNoHeartbeat  CloseCode = 4408
	closeTooMany      CloseCode = 4429
)

// Reconnect is what a browser does after a close.
type Reconnect string

// The ways to come back, in the words of protocol.md.
const (
	reconnectAsYouLike Reconnect = "as you like"
	reconnectNever     Reconnect = "no, it is a bug"
	reconnectLater     Reconnect = "later, with delay"
	reconnectWhenTold  Reconnect = "yes, after `retryAfterMs`"
	reconnectBackOff   Reconnect = "yes, with full back-off"
	reconnectCursor    Reconnect = "yes, with the cursor"
	reconnectNewToken  Reconnect = "with a new token"
	reconnectRefused   Reconnect = "no"
	reconnectYes       Reconnect = "yes"
)

// closeRow is one line of the table.
type closeRow struct {
	code      CloseCode
	name      string // in metrics and logs
	meaning   string
	reconnect Reconnect
}

// closeTable is the only place that knows what a code means. It is never modified.
var closeTable = [...]closeRow{
	{closeNormal, "normal", "normal", reconnectAsYouLike},
	{closeGoingAway, "going_away", "the page or the server leaves", reconnectAsYouLike},
	{closeProtocol, "protocol", "the WebSocket protocol, or this one, was broken", reconnectNever},
	{closeUnsupported, "unsupported", "a binary frame", reconnectNever},
	{closeInvalidText, "invalid_text", "text that is not UTF-8", reconnectNever},
	{closeFlood, "flood", "more frames per second than allowed, or a message begun and not finished", reconnectLater},
	{closeTooBig, "too_big", "a frame larger than allowed", reconnectNever},
	{closeDraining, "draining", "this server leaves", reconnectWhenTold},
	{closeOverloaded, "overloaded", "this server cannot take the connection now", reconnectBackOff},
	{closeSlow, "slow", "the browser did not keep up", reconnectCursor},
	{closeUnauthorized, "unauthorized", "the token is missing, expired or not valid", reconnectNewToken},
	{closeForbidden, "forbidden", "refused, or revoked", reconnectRefused},
	{closeNoHeartbeat, "no_heartbeat", "no pong came back", reconnectYes},
	{closeTooMany, "too_many", "too many connections of this user", reconnectLater},
}

// row finds c in the table. A browser may send any code, so not every code is there.
func (c CloseCode) row() (closeRow, bool) {
	for _, r := range closeTable {
		if r.code == c {
			return r, true
		}
	}
	return closeRow{}, false
}

// Name is the code's word in metrics and logs, "other" for a code that is not ours: a label has few values.
func (c CloseCode) Name() string {
	if r, ok := c.row(); ok {
		return r.name
	}
	return "other"
}

// Reconnect says whether the browser comes back. A code that is not in the table (1006, a proxy's 1011) means yes: the
// connection was lost, and the cursor makes coming back harmless.
func (c CloseCode) Reconnect() Reconnect {
	if r, ok := c.row(); ok {
		return r.reconnect
	}
	return reconnectYes
}

func (c CloseCode) String() string { return fmt.Sprintf("%d %s", uint16(c), c.Name()) }
