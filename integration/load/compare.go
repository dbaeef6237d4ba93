//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// compare measures every kind of server in turn, several times, and writes the table.
func compare(ctx context.Context, o *options) (err error) {
	dir, err := os.MkdirTemp("", "tidings-load-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	where := thisMachine(ctx, o) // before the build: this is what is built
	b, err := build(ctx, o, dir)
	if err != nil {
		return err
	}
	all := make(runs, len(kinds))
	for pair := range o.pairs {
		for i := range kinds {
			// Every second pair goes the other way round: what warms the machine up must not always serve the same one.
			if pair%2 == 1 {
				i = len(kinds) - 1 - i
			}
			began := time.Now()
			r, err := measure(ctx, o, b, kinds[i])
			if err != nil {
				return fmt.Errorf("pair %d: %w", pair+1, err)
			}
			fmt.Fprintf(os.Stderr, "pair %d of %d: %-8s %3.0f s: %.0f B a tab, %.1f µs a delivery to all, %.1f µs to one\n",
				pair+1, o.pairs, r.Server, time.Since(began).Seconds(), r.ResidentPerTab, r.AllCPU, r.BurstCPU)
			all[i] = append(all[i], r)
		}
	}
	text := table(where, o, all)
	fmt.Print(text)
	if o.json != "" {
		if err := writeJSON(o.json, where, all); err != nil {
			return err
		}
	}
	if o.readme != "" {
		return replaceTable(o.readme, text)
	}
	return nil
}

func writeJSON(file string, m machine, all runs) error {
	b, err := json.MarshalIndent(struct {
		Machine machine
		Runs    runs
	}{m, all}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
