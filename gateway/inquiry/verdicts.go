package inquiry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout"
	"tidings/gateway/ask"
	"tidings/ingest"
)

// Ruling are the verdicts of one set of rules about an event, and who has them.
type Ruling struct {
	Pods     []string      `json:"pods,omitempty"` // fanouts; none: the rules of whoever asks
	File     bool          `json:"file"`           // there is a rules file
	Error    string        `json:"error,omitempty"`
	Verdicts []ask.Verdict `json:"verdicts,omitempty"`
	More     int           `json:"more,omitempty"`
}

// rulings asks the running fanouts what their rules say, and looks into rules of its own where none answers.
func (s *Search) rulings(ctx context.Context, m *jetstream.RawStreamMsg, user string) []Ruling {
	var list []Ruling
	_ = ask.All(ctx, s.JS.Conn(), ask.SubjectRules, ask.Rules{Sequence: m.Sequence, User: user}, askPatience, func(b []byte) time.Duration {
		a, err := ask.ParseFanout(b)
		if err != nil || len(list) == maxPods {
			return askPatience
		}
		list = addRuling(list, a)
		return moreAnswers
	})
	if len(list) == 0 && s.HasRules {
		a := explain(s.JS.Conn(), s.Rules, s.shards(ctx), m, user)
		list = append(list, Ruling{File: a.File, Error: a.Error, Verdicts: a.Verdicts, More: a.More})
	}
	return list
}

// addRuling puts fanouts that say the same together.
func addRuling(list []Ruling, a ask.Fanout) []Ruling {
	r := Ruling{File: a.File, Error: a.Error, Verdicts: a.Verdicts, More: a.More}
	said, _ := json.Marshal(r) // strings and numbers
	for i := range list {
		other := list[i]
		other.Pods = nil
		if b, _ := json.Marshal(other); string(b) == string(said) {
			list[i].Pods = append(list[i].Pods, a.Pod)
			slices.Sort(list[i].Pods)
			return list
		}
	}
	r.Pods = []string{a.Pod}
	return append(list, r)
}

// AnswerRules is a fanout's part: it answers what its rules say about an event of EVENTS, until the context ends.
func AnswerRules(ctx context.Context, js jetstream.JetStream, rules *fanout.Rules, shards int, log *slog.Logger) {
	pod := ask.PodName()
	ask.Listen(ctx, js.Conn(), ask.SubjectRules, log, func(question []byte) any {
		q, err := ask.ParseRules(question)
		if err != nil {
			return nil // whoever can write there is inside the house, and has made a mistake
		}
		a := ask.Fanout{}
		if event, err := readEvent(ctx, js, q.Sequence); err == nil {
			a = explain(js.Conn(), rules, shards, event, q.User)
		} else {
			a.Error = err.Error()
		}
		a.Pod = pod
		return a
	})
}

// readEvent reads one event of EVENTS.
func readEvent(ctx context.Context, js jetstream.JetStream, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	stream, err := js.Stream(ctx, ingest.StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", ingest.StreamEvents, inWords(err))
	}
	m, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%s has no event %d any more, or not yet", ingest.StreamEvents, seq)
	}
	if err != nil {
		return nil, fmt.Errorf("read event %d: %w", seq, inWords(err))
	}
	return m, nil
}

// explain evaluates the rules. An expression that panics is an error like any other, as in ingest.
func explain(nc *nats.Conn, rules *fanout.Rules, shards int, m *jetstream.RawStreamMsg, user string) (a ask.Fanout) {
	a.File = rules != nil
	defer func() {
		if p := recover(); p != nil {
			a = ask.Fanout{File: rules != nil, Error: fmt.Sprintf("panic: %v", p)}
		}
	}()
	e, err := ingest.Decode(m)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	most := int(nc.MaxPayload())
	if most == 0 {
		most = 1 << 20 // of all servers, unless set
	}
	for _, v := range rules.Explain(e, max(shards, 1), most) {
		if len(a.Verdicts) == ask.MaxVerdicts {
			a.More++
			continue
		}
		a.Verdicts = append(a.Verdicts, told(v, user))
	}
	return a
}

var outcomes = [...]string{
	fanout.OutcomeMatched: ask.Matched, fanout.OutcomeSubject: ask.Subject, fanout.OutcomeWhen: ask.When,
	fanout.OutcomeNobody: ask.Nobody, fanout.OutcomeFailed: ask.Failed,
}

// told is a verdict as it is told to others: bounded.
func told(v fanout.Verdict, user string) ask.Verdict {
	a := &v.Audience
	t := ask.Verdict{
		Rule: v.Rule, Outcome: outcomes[v.Outcome], Why: short(v.Why),
		All: a.All, Users: len(a.Users), Names: slices.Clone(a.Users[:min(len(a.Users), 10)]),
		Groups: slices.Clone(a.Groups[:min(len(a.Groups), ask.MaxNames)]), ExceptGroups: slices.Clone(a.ExceptGroups[:min(len(a.ExceptGroups), ask.MaxNames)]),
		ExceptUsers: len(a.ExceptUsers),
	}
	if user != "" {
		t.Listed, t.Excepted = a.Lists(user)
	}
	for _, r := range v.Records {
		if len(t.Records) == ask.MaxRecords {
			t.MoreRecords++
			continue
		}
		t.Records = append(t.Records, ask.Record{Shard: r.Shard, Subject: r.Subject, ID: r.MsgID})
	}
	return t
}

// short bounds a text: an expression may be a page, and an error holds what the event says.
func short(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	const most = 600
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}
