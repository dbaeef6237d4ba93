//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"tidings/integration/machine"
)

// pair is one turn through the servers: the results by the name of their kind. The floor has two.
type pair map[string][]*result

// value is the mean of a kind's results in this pair; ok is false where it was not measured.
func (p pair) value(kind string, m metric) (v float64, ok bool) {
	n := 0.0
	for _, r := range p[kind] {
		if x, measured := r.Values[m]; measured {
			v, n = v+x, n+1
		}
	}
	return v / max(n, 1), n > 0
}

// compare measures every kind of server in turn, several times, and writes the table.
func compare(ctx context.Context, o *options) (err error) {
	dir, err := os.MkdirTemp("", "tidings-load-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	where := machine.This(ctx, o.command()) // before the build: this is what is built
	b, err := build(ctx, o, dir)
	if err != nil {
		return err
	}
	var all []pair
	for i := range o.pairs {
		p := pair{}
		for _, name := range turn(i, o.only) {
			began := time.Now()
			r, err := measure(ctx, o, b, kindNamed(name))
			if err != nil {
				return fmt.Errorf("pair %d: %w", i+1, err)
			}
			fmt.Fprintf(os.Stderr, "pair %d of %d: %-8s %3.0f s:%s\n", i+1, o.pairs, name, time.Since(began).Seconds(), r.line())
			p[name] = append(p[name], r)
		}
		all = append(all, p)
	}
	text := table(where, o, all)
	fmt.Print(text)
	if o.json != "" {
		if err := writeJSON(o.json, where, all); err != nil {
			return err
		}
	}
	grown := computed(all, o.tabs)
	fmt.Print("\n" + grown)
	if o.readme == "" {
		return nil
	}
	if o.gateways > 0 {
		return gatewaysSection.replace(o.readme, text)
	}
	err = measuredSection.replace(o.readme, text)
	if grown != "" {
		err = errors.Join(err, computedSection.replace(o.readme, grown))
	}
	return err
}

func writeJSON(file string, m machine.Machine, all []pair) error {
	b, err := json.MarshalIndent(struct {
		Machine machine.Machine
		Pairs   []pair
	}{m, all}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
