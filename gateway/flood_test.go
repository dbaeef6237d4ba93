package gateway

import (
	"bytes"
	"testing"
)

// What comes behind a flood is thrown away without a look: the others of the loop would wait while it is taken apart.
func TestWhatFollowsAFloodIsNotTakenApart(t *testing.T) {
	g := newHouse(t, 1).gate(func(c *Config) { c.Loops, c.MessagesPerSecond = 1, 20 })
	b, _ := g.tab("loud", "")
	b.send(bytes.Repeat(masked(text, "{}"), 41)) // twice the rate passes at a second's edge
	b.wantClose(closeFlood)
	ignored := make(chan bool, 1)
	l := g.loops[0]
	l.call(func() {
		for i := range l.slots {
			if s := l.slots[i].session; s != nil {
				s.receive(bytes.Repeat(masked(text, "{}"), 100))
				ignored <- s.in != nil && s.in.Ended() && s.state == closing
				return
			}
		}
		ignored <- false
	})
	if !<-ignored {
		t.Error("the session is gone, or still looks at what comes")
	}
	b.conn.Close()
}
