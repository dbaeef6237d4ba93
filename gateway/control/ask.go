package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
)

// Gateways answer at once; how many there are is not known. Who asks waits so long for the first, and when it has come so long for the others.
const (
	firstAnswer = 3 * time.Second
	nextAnswer  = 500 * time.Millisecond
)

// ErrNobody says that no gateway listens.
var ErrNobody = errors.New("no gateway answered: is one running, connected to the same NATS, and may this user publish to control.>?")

// Ask sends a message to all gateways and gives their answers, each a JSON object, decoded.
func Ask[T any](ctx context.Context, nc *nats.Conn, subject string, message any) (answers []T, err error) {
	var bad error
	err = ask.All(ctx, nc, subject, message, firstAnswer, func(b []byte) time.Duration {
		var a T
		if err := json.Unmarshal(b, &a); err != nil {
			bad = fmt.Errorf("a gateway's answer on %s: %w", subject, err)
		}
		answers = append(answers, a)
		return nextAnswer
	})
	switch {
	case err != nil || bad != nil:
		return nil, errors.Join(err, bad)
	case len(answers) == 0:
		return nil, ErrNobody
	}
	return answers, nil
}

// Loads asks every gateway how many sessions it has, in the order of their names.
func Loads(ctx context.Context, nc *nats.Conn) ([]Load, error) {
	loads, err := Ask[Load](ctx, nc, SubjectLoad, struct{}{})
	slices.SortFunc(loads, func(a, b Load) int { return strings.Compare(a.Gateway, b.Gateway) })
	return loads, err
}

// Revoke stores a revocation; gateways hear of it at once.
func Revoke(ctx context.Context, js jetstream.JetStream, user string) error {
	b, err := json.Marshal(Revocation{User: user})
	if err != nil {
		return err
	}
	if _, err := ParseRevocation(b); err != nil {
		return err
	}
	if _, err := js.Publish(ctx, SubjectRevoke, b, jetstream.WithExpectStream(wire.ControlStream)); err != nil {
		return fmt.Errorf("the revocation is not stored: %w", err)
	}
	return nil
}

// Balance is what each gateway has to give away so that all have the same, those excepted that are leaving.
//
// Where browsers come back to any gateway alike (round robin, random), the one with the fewest gets no more than the others, so everybody
// gives away what they have beyond it. Where new connections go to the one with the fewest (least connections), what is beyond the mean is enough.
func Balance(loads []Load, leastConnections bool) (sheds []Shed) {
	loads = slices.DeleteFunc(slices.Clone(loads), func(l Load) bool { return l.Leaving })
	if len(loads) < 2 {
		return nil
	}
	sum, level := 0, loads[0].Sessions
	for _, l := range loads {
		sum += l.Sessions
		level = min(level, l.Sessions)
	}
	if leastConnections {
		level = sum / len(loads)
	}
	for _, l := range loads {
		if n := l.Sessions - level; n > 0 {
			sheds = append(sheds, Shed{Gateway: l.Gateway, Sessions: n})
		}
	}
	return sheds
}
