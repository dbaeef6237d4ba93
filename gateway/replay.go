package gateway

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidings/fanout/wire"
)

// replay serves the sessions whose cursors are older than the tail, by scanning the log. A scan is shared: one reader walks the
// Records of one user partition and the mixed ones, from the lowest cursor that waits, and serves all who wait for that
// partition. It works on a connection of its own, so that a storm of resumes does not delay the feeds.
type replay struct {
	// Fixed at creation.
	js      jetstream.JetStream
	log     *slog.Logger
	metrics *metrics
	most    int // waiting sessions per shard
	timeout time.Duration

	mu      sync.Mutex // guards the following
	queues  map[scanKey][]*waiter
	running map[scanKey]bool
	waiting map[int]int // by shard
	idle    outage
	wake    chan struct{}
}

type scanKey struct {
	shard *shard
	part  int
}

// waiter is a session that waits, as it was when it began to.
type waiter struct {
	session *Session
	user    string
	groups  []string
	life    uint32
	pos     uint64
	since   time.Time
	idle    time.Duration // of the outages that were over by then
	list    []*entry
}

const (
	scanWorkers  = 2
	scanBatch    = 1000
	scanHand     = 256 // entries after which a session is served, and waits again for more
	scanPatience = 5 * time.Second
)

func newReplay(js jetstream.JetStream, cfg *Config, log *slog.Logger, m *metrics) *replay {
	return &replay{
		js: js, log: log, metrics: m, most: cfg.ReplayWaiting, timeout: cfg.ReplayTimeout,
		queues: map[scanKey][]*waiter{}, running: map[scanKey]bool{}, waiting: map[int]int{}, wake: make(chan struct{}, scanWorkers),
	}
}

// wait queues a session, on its loop. It is false when too many wait.
func (r *replay) wait(s *Session) bool {
	w := &waiter{session: s, user: s.user, groups: s.groups(), life: s.life, pos: s.pos, since: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	w.idle = r.idle.total
	if r.waiting[s.shard.id] >= r.most {
		return false
	}
	r.put(scanKey{s.shard, wire.Partition(s.user)}, w)
	return true
}

// put queues w. The caller holds mu.
func (r *replay) put(k scanKey, w *waiter) {
	r.waiting[k.shard.id]++
	r.queues[k] = append(r.queues[k], w)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run scans until the context ends.
func (r *replay) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range scanWorkers {
		wg.Go(func() { r.work(ctx) })
	}
	wg.Wait()
}

func (r *replay) work(ctx context.Context) {
	for told := false; ctx.Err() == nil; { // whoever waits then is closed by its loop
		k, list, ok := r.take()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-r.wake:
			}
			continue
		}
		began := time.Now()
		rest, err := r.scan(ctx, k, list)
		r.mu.Lock()
		delete(r.running, k)
		for _, w := range rest {
			r.put(k, w)
		}
		r.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			if !told {
				r.log.Warn("a scan of the log failed, and begins anew", "shard", k.shard.id, "partition", k.part, "waiting", len(rest), "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(feedPause):
			}
			r.mu.Lock()
			r.idle.add(began, time.Now())
			r.mu.Unlock()
		}
		told = err != nil
	}
}

// take takes the queue whose first has waited longest.
func (r *replay) take() (k scanKey, list []*waiter, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var oldest time.Time
	for key, q := range r.queues {
		if !r.running[key] && (!ok || q[0].since.Before(oldest)) {
			k, oldest, ok = key, q[0].since, true
		}
	}
	if !ok {
		return k, nil, false
	}
	list = r.queues[k]
	delete(r.queues, k)
	r.running[k] = true
	r.waiting[k.shard.id] -= len(list)
	if len(r.queues) > 0 {
		select { // another worker may take those
		case r.wake <- struct{}{}:
		default:
		}
	}
	return k, list, true
}

// scan serves all in list, or those it can. It returns those who must wait for another scan.
func (r *replay) scan(ctx context.Context, k scanKey, list []*waiter) (rest []*waiter, err error) {
	sc := &scan{replay: r, shard: k.shard, part: int8(k.part)}
	sc.base, sc.mark, sc.life, sc.epoch = k.shard.tailStart()
	for _, w := range list {
		switch {
		case w.life != sc.life: // the feed tells them that their position is lost
		case r.overdue(w, time.Now()):
			w.reset(resetScanTime)
		default:
			sc.add(w)
		}
	}
	if len(sc.waiters) == 0 {
		return nil, nil
	}
	err = sc.run(ctx)
	return sc.waiters, err
}

// overdue tells whether a waiter has waited too long. Time in which no scan could read, because NATS was away, is not the log's fault: it does not
// count, or an outage would end in a reset of all that wait, with everything they missed still there. It counts when it has been ten times as long: nobody
// is left without a word for ever.
func (r *replay) overdue(w *waiter, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	waited := now.Sub(w.since)
	return waited > 10*r.timeout || waited-(r.idle.total-w.idle) > r.timeout
}

// outage adds up times that may overlap.
type outage struct {
	total time.Duration
	until time.Time
}

func (o *outage) add(from, to time.Time) {
	if from.Before(o.until) {
		from = o.until
	}
	if to.After(from) {
		o.total += to.Sub(from)
		o.until = to
	}
}

// serve gives the session what was found, and lets it go on from its new position.
func (w *waiter) serve() {
	s, life, list, pos := w.session, w.life, w.list, w.pos
	s.loop.call(func() { s.replayed(life, list, pos) })
}

// reset tells the session that what it missed cannot be had.
func (w *waiter) reset(why string) {
	s, life := w.session, w.life
	s.loop.call(func() {
		if s.state == scanning && s.life == life {
			s.giveUp(why)
		}
	})
}
