//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"tidings/integration/load/loadgen"
)

// visit opens tabs on somebody's deployment, and measures what can be seen from outside.
func visit(ctx context.Context, o *options) (err error) {
	u, err := url.Parse(o.target)
	if err != nil {
		return err
	}
	if u.Path == "" {
		u.Path = "/ws"
	}
	fleet, err := loadgen.Start(ctx, o.generators([]string{u.String()}, "tidings.v1", o.secret), o.procs, tabsProcess)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fleet.Close()) }()
	began := time.Now()
	r, err := fleet.Open(o.tabs, o.openWithin())
	if err != nil {
		return err
	}
	fmt.Printf("%d tabs open, %.0f handshakes/s\n", r.Open, float64(r.Open)/time.Since(began).Seconds())
	if o.nats == "" {
		return listen(ctx, o, fleet)
	}
	sink, err := newStreamSink(o.nats, o.bytes)
	if err != nil {
		return err
	}
	defer sink.close()
	e := newEvents(sink, o.users)
	e.opened(o.tabs)
	if err := fleet.Reset(); err != nil {
		return err
	}
	want, took, err := e.paced(ctx, o.rate, time.Duration(o.seconds)*time.Second)
	if err != nil {
		return err
	}
	if r, err = fleet.Await(want, awaitWithin); err != nil {
		return err
	}
	fmt.Printf("%.0f events/s: %d of %d deliveries, %d resets; from publish to frame read p50 %.2f ms, p99 %.2f ms, longest %.2f ms\n",
		float64(o.rate*o.seconds)/took.Seconds(), r.Deliveries, want, r.Resets,
		millis(r.Ways.Quantile(0.5)), millis(r.Ways.Quantile(0.99)), millis(r.Max))
	return nil
}

// listen counts what comes from elsewhere. Events whose data has a time as loadgen.Stamp writes it are measured.
func listen(ctx context.Context, o *options, fleet *loadgen.Fleet) error {
	if err := fleet.Reset(); err != nil {
		return err
	}
	if err := pause(ctx, time.Duration(o.seconds)*time.Second); err != nil {
		return err
	}
	r, err := fleet.Await(0, time.Second)
	if err != nil {
		return err
	}
	fmt.Printf("%d s: %d open, %d resets, %d deliveries with a time in them", o.seconds, r.Open, r.Resets, r.Deliveries)
	if r.Deliveries > 0 {
		fmt.Printf(": p50 %.2f ms, p99 %.2f ms", millis(r.Ways.Quantile(0.5)), millis(r.Ways.Quantile(0.99)))
	}
	fmt.Println()
	return nil
}
