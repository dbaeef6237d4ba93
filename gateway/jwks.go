package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// We keep the identity provider's keys ourselves. keyfunc/v3 with jwkset would make the caller wait for its rate limiter, up
// to a minute and on an I/O loop; drop the whole set for one key it cannot read; follow a key's x5u to any address; and
// bound neither the answer's size nor the number of waiting callers.

// maxJWKSBytes bounds the answer of the identity provider; 20 RSA keys with certificates take 60 kB.
const maxJWKSBytes = 1 << 20

// maxJWKSWaiters bounds the callers that wait for a fetch, which garbage key names would otherwise pile up.
const maxJWKSWaiters = 1024

var errJWKSCrowded = errors.New("too many wait for the identity provider's keys")

// jwksTiming says when keys are fetched. A pod asks the provider at most once per gap, whatever browsers send. gap and timeout
// together stay below the 8 s that a browser has to authenticate: it is told 1013, not 4401, when the provider is out.
type jwksTiming struct {
	refresh  time.Duration // between fetches when nobody asks
	gap      time.Duration // at least this from the start of one to the next that an unknown key name causes
	retry    time.Duration // after the first failure, doubled after each
	retryMax time.Duration
	timeout  time.Duration // of one fetch
}

func defaultJWKSTiming() jwksTiming {
	return jwksTiming{15 * time.Minute, 3 * time.Second, time.Second, 30 * time.Second, 4 * time.Second}
}

// jwks is the identity provider's key set, fetched by one goroutine and read by everybody. While the provider is out, the
// keys that were there stay.
type jwks struct {
	// Fixed at creation.
	url    string
	timing jwksTiming
	client *http.Client
	log    *slog.Logger
	stop   context.CancelFunc
	ended  chan struct{}

	set     atomic.Pointer[jwkSet] // nil before the first success
	waiting atomic.Int32           // callers of wait

	want chan struct{} // holds one wish to fetch; sent and drained under mu

	// Guarded by mu.
	mu    sync.Mutex
	round *jwksRound // ends with the fetch that is going on, or with the next
}

// jwksRound is one fetch, for those who wait for it.
type jwksRound struct {
	done chan struct{}
	err  error // set before done is closed
}

func newJWKS(address string, timing jwksTiming, log *slog.Logger) *jwks {
	return &jwks{
		url: address, timing: timing, client: newJWKSClient(timing.timeout), log: log.With("url", redactURL(address)),
		ended: make(chan struct{}), want: make(chan struct{}, 1), round: &jwksRound{done: make(chan struct{})},
	}
}

func (j *jwks) start(ctx context.Context) {
	ctx, j.stop = context.WithCancel(ctx)
	go j.run(ctx)
}

func (j *jwks) close() {
	j.stop()
	<-j.ended
}

// find gives the keys that fit alg and kid, all that fit alg when kid is "". missing tells that a fetch might bring others.
func (j *jwks) find(alg, kid string) (keys []jwt.VerificationKey, missing bool) {
	set := j.set.Load()
	if set == nil {
		return nil, true
	}
	if kid == "" {
		for _, k := range set.keys {
			if k.fits(alg) {
				keys = append(keys, k.public)
			}
		}
		return keys, true
	}
	named := set.byKid[kid]
	for _, k := range named {
		if k.fits(alg) {
			keys = append(keys, k.public)
		}
	}
	return keys, len(named) == 0
}

// crowded tells that wait would refuse.
func (j *jwks) crowded() bool { return j.waiting.Load() >= maxJWKSWaiters }

// wait has the keys fetched, and returns when that is done: nil after a success. All who wait share one fetch.
func (j *jwks) wait(ctx context.Context) error {
	if j.waiting.Add(1) > maxJWKSWaiters {
		j.waiting.Add(-1)
		return errJWKSCrowded
	}
	defer j.waiting.Add(-1)
	j.mu.Lock()
	round := j.round
	select {
	case j.want <- struct{}{}:
	default:
	}
	j.mu.Unlock()
	select {
	case <-round.done:
		return round.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run fetches at once, then when it is due or wished for, until ctx ends.
func (j *jwks) run(ctx context.Context) {
	defer close(j.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var started time.Time
	failures := 0
	for {
		select {
		case <-ctx.Done():
			j.finish(ctx.Err(), nil)
			return
		case <-j.want:
			timer.Reset(max(0, j.timing.gap-time.Since(started)))
			continue
		case <-timer.C:
		}
		started = time.Now()
		set, err := j.fetch(ctx)
		if err == nil {
			j.replace(set, failures)
			failures = 0
			timer.Reset(jwksSpread(j.timing.refresh))
		} else {
			delay := jwksSpread(min(j.timing.retry<<min(failures, 16), j.timing.retryMax))
			failures++
			if ctx.Err() == nil {
				j.log.Warn("cannot fetch the identity provider's keys; those that are there stay in use",
					"error", err, "attempts", failures, "retry_in", delay.Round(time.Millisecond), "keys", j.keys())
			}
			timer.Reset(delay)
		}
		j.finish(err, &jwksRound{done: make(chan struct{})})
	}
}

// finish ends the present round. Wishes from before it are fulfilled. Without a next round, everybody later gets err.
func (j *jwks) finish(err error, next *jwksRound) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.want:
	default:
	}
	j.round.err = err
	close(j.round.done)
	if next != nil {
		j.round = next
	}
}

func (j *jwks) replace(set *jwkSet, failures int) {
	old := j.set.Swap(set)
	switch {
	case len(set.keys) == 0:
		j.log.Warn("the identity provider's key set has no usable key: all its tokens are refused", "ignored_keys", set.ignored)
	case old == nil || failures > 0 || len(old.keys) != len(set.keys):
		j.log.Info("fetched the identity provider's keys", "keys", len(set.keys), "ignored_keys", set.ignored)
	}
}

func (j *jwks) keys() int {
	if set := j.set.Load(); set != nil {
		return len(set.keys)
	}
	return 0
}

func (j *jwks) fetch(ctx context.Context) (*jwkSet, error) {
	ctx, cancel := context.WithTimeout(ctx, j.timing.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := j.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKSBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxJWKSBytes {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxJWKSBytes)
	}
	return parseJWKSet(body)
}

// newJWKSClient follows few redirects, to allowed addresses only, and keeps no connection for the minutes in between.
func newJWKSClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("more than 3 redirects")
			}
			return checkJWKSURL(req.URL)
		},
	}
}

// checkJWKSURL demands https: whoever can change the key set on its way can sign any token.
func checkJWKSURL(u *url.URL) error {
	switch {
	case u.Scheme == "https", u.Scheme == "http" && loopbackName(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%s is not encrypted: use https (http only on loopback)", redactURL(u.String()))
	}
	return fmt.Errorf("scheme %q: use https", u.Scheme)
}

func redactURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is not a URL"
	}
	return u.Redacted()
}

// jwksSpread is d, 10 % more or less, so that the pods of a deployment do not ask at the same moment.
func jwksSpread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
