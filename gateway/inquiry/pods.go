package inquiry

import (
	"context"
	"slices"
	"strings"
	"time"

	"tidings/fanout/wire"
	"tidings/gateway/ask"
)

const (
	// askPatience is how long gateways that are known have for their answer; they give themselves one second.
	askPatience = 2500 * time.Millisecond
	// unknownPatience is how long to wait for answers where nobody is known.
	unknownPatience = 1500 * time.Millisecond
	// moreAnswers is how long to wait for the other fanouts when one has answered: they may have other rules, during a rollout.
	moreAnswers = 150 * time.Millisecond

	maxPods = 1000
)

// Pods are what the gateways said about a user.
type Pods struct {
	Answers []ask.Gateway `json:"answers"`
	Silent  []string      `json:"silent,omitempty"` // gateways that follow the log, or did half a minute ago, and have not answered
	Error   string        `json:"error,omitempty"`  // why others may be missing
}

// pods asks every gateway about a user.
func (s *Search) pods(ctx context.Context, user string) Pods {
	var p Pods
	known, err := s.known(ctx)
	patience := askPatience
	if err != nil {
		p.Error = "it could not be found out which gateways there are: " + err.Error()
		patience = unknownPatience
	} else if len(known) == 0 {
		patience = unknownPatience
	}
	missing := make(map[string]bool, len(known))
	for _, pod := range known {
		missing[pod] = true
	}
	err = ask.All(ctx, s.JS.Conn(), ask.SubjectWho, ask.Who{User: user}, patience, func(b []byte) time.Duration {
		a, err := ask.ParseGateway(b)
		if err != nil || len(p.Answers) == maxPods || slices.ContainsFunc(p.Answers, func(o ask.Gateway) bool { return o.Pod == a.Pod }) {
			return patience
		}
		p.Answers = append(p.Answers, a)
		delete(missing, a.Pod)
		if len(known) > 0 && len(missing) == 0 {
			return 0
		}
		return patience
	})
	if err != nil {
		p.Error = strings.Trim(p.Error+"; "+err.Error(), "; ")
	}
	for pod := range missing {
		p.Silent = append(p.Silent, pod)
	}
	slices.Sort(p.Silent)
	slices.SortFunc(p.Answers, func(a, b ask.Gateway) int { return strings.Compare(a.Pod, b.Pod) })
	return p
}

// known are the gateways that follow the log, or did until half a minute ago: the log's consumers name them.
func (s *Search) known(ctx context.Context) (pods []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	stream, err := s.stream(ctx, wire.Stream(0))
	if err != nil {
		return nil, err
	}
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		if pod := info.Config.Metadata[ask.MetaPod]; pod != "" && !slices.Contains(pods, pod) && len(pods) < maxPods {
			pods = append(pods, pod)
		}
	}
	if err := list.Err(); err != nil {
		return nil, inWords(err)
	}
	return pods, nil
}
