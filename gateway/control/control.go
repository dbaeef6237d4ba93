// Package control is what operators say to gateways over NATS: who is revoked, and who gives sessions away; and what gateways answer. subjects.md has the
// same.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"tidings/fanout/wire"
)

// The subjects. Revocations are kept by a stream, so that they hold for gateways that start later; the others are for those that run now.
const (
	SubjectRevoke = wire.SubjectRevoke
	SubjectLoad   = "control.load"
	SubjectShed   = "control.shed"
)

// Revocation closes all sessions of a user, and makes all gateways refuse the tokens that were issued to the user before.
type Revocation struct {
	User string `json:"user"`
}

// ParseRevocation reads a message of SubjectRevoke.
func ParseRevocation(b []byte) (r Revocation, err error) {
	if err := parse(b, &r); err != nil {
		return r, err
	}
	if err := wire.CheckUser(r.User); err != nil {
		return r, fmt.Errorf("user: %w", err)
	}
	return r, nil
}

// Load is a gateway's answer on SubjectLoad.
type Load struct {
	Gateway  string `json:"gateway"`
	Sessions int    `json:"sessions"`
	Leaving  bool   `json:"leaving,omitempty"` // it takes no more
}

// Shed asks gateways to give sessions away, one after the other: their browsers come back within a second, wherever the load balancer sends them.
type Shed struct {
	Gateway  string  `json:"gateway,omitempty"` // "": every one
	Sessions int     `json:"sessions,omitempty"`
	Share    float64 `json:"share,omitempty"` // of its sessions, instead of a number; up to 1
	Over     string  `json:"over,omitempty"`  // a Go duration; "": 30s
}

// DefaultOver is the time over which sessions are given away.
const (
	DefaultOver = 30 * time.Second
	LongestOver = time.Hour
)

// ParseShed reads a message of SubjectShed. over is never 0.
func ParseShed(b []byte) (s Shed, over time.Duration, err error) {
	if err := parse(b, &s); err != nil {
		return s, 0, err
	}
	over, err = s.Check()
	return s, over, err
}

// Check tells what is wrong with it.
func (s *Shed) Check() (over time.Duration, err error) {
	over = DefaultOver
	if s.Over != "" {
		if over, err = time.ParseDuration(s.Over); err != nil || over <= 0 || over > LongestOver {
			return 0, fmt.Errorf("over is %q, want a duration up to %v, such as 30s", s.Over, LongestOver)
		}
	}
	switch {
	case s.Sessions < 0 || s.Share < 0 || s.Share > 1:
		return 0, errors.New("want sessions of at least 1, or a share between 0 and 1")
	case (s.Sessions > 0) == (s.Share > 0):
		return 0, errors.New("want either sessions or a share")
	}
	return over, nil
}

// Of is how many of so many sessions are to go.
func (s *Shed) Of(sessions int) int {
	if s.Share > 0 {
		return int(s.Share*float64(sessions) + 0.5)
	}
	return min(s.Sessions, sessions)
}

// Shedding is a gateway's answer on SubjectShed.
type Shedding struct {
	Gateway  string `json:"gateway"`
	Sessions int    `json:"sessions"`        // that it gives away, about
	Error    string `json:"error,omitempty"` // why it gives none away
}

// maxMessage bounds what is decoded.
const maxMessage = 4096

func parse(b []byte, to any) error {
	if len(b) > maxMessage {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(b), maxMessage)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields() // a misspelt field must not mean "every gateway"
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("want a JSON object as in subjects.md: %w", err)
	}
	if d.More() {
		return errors.New("want one JSON object, there is more behind it")
	}
	return nil
}
