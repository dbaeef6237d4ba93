package gateway

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"tidings/gateway/control"
)

// heed answers operators on the control subjects until the connection ends.
func (g *Gateway) heed(nc *nats.Conn) error {
	for subject, answer := range map[string]func([]byte) any{
		control.SubjectLoad: func([]byte) any { return g.load() },
		control.SubjectShed: g.shed,
	} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
			if a := answer(m.Data); a != nil && m.Reply != "" {
				b, _ := json.Marshal(a) // cannot fail: they are of our own types
				m.Respond(b)
			}
		}); err != nil {
			return fmt.Errorf("listen on %s: %w", subject, err)
		}
	}
	return nil
}

func (g *Gateway) load() control.Load {
	return control.Load{Gateway: g.Name(), Sessions: int(g.open.Load()), Leaving: g.retired.Load()}
}

// shed gives sessions away. It answers nothing when it is another gateway that is meant.
func (g *Gateway) shed(message []byte) any {
	shed, over, err := control.ParseShed(message)
	answer := control.Shedding{Gateway: g.Name()}
	switch {
	case err == nil && shed.Gateway != "" && shed.Gateway != g.Name():
		return nil
	case err == nil && g.alone:
		answer.Error = "no other gateway could take them: NATS runs within this process"
	case err == nil && g.leaving.Load():
		answer.Error = "it is leaving, and gives all of them away"
	case err != nil:
		answer.Error = err.Error()
	default:
		open := int(g.open.Load())
		answer.Sessions = shed.Of(open)
		g.log.Info("giving sessions away", "sessions", answer.Sessions, "of", open, "over", over)
		share := float64(answer.Sessions) / float64(max(1, open))
		for _, l := range g.loops {
			l.call(func() {
				if !g.leaving.Load() {
					l.depart(share, over, returnSpread, nil)
				}
			})
		}
		return answer
	}
	g.log.Warn("not giving sessions away", "error", answer.Error)
	return answer
}
