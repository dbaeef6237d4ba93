package gateway

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"tidings/gateway/ask"
	"tidings/gateway/control"
)

// heed does what operators say on the control subjects, until the context ends.
func (g *Gateway) heed(ctx context.Context, nc *nats.Conn) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { ask.Listen(ctx, nc, control.SubjectLoad, g.log, func([]byte) any { return g.load() }) })
	all.Go(func() { ask.Listen(ctx, nc, control.SubjectShed, g.log, g.shed) })
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
