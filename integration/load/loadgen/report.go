package loadgen

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Config is what the processes of a Fleet are told when they start.
type Config struct {
	Targets     []string // ws://host:port/path; a query is kept. Process i has the i-th, and begins anew behind the last
	Subprotocol string   // offered in the handshake; with one, a tab is open when its first text frame has come
	Secret      string   // signs HS256 tokens; empty: the user goes into the query
	Users       int      // distinct users, over all processes; tab i is user From + i modulo Users
	From        int      // the first of them
	Rate        int      // handshakes per second, over all processes
	Index, Of   int      // which process this is, of how many; set by Start
}

// Validate tells what is wrong with c.
func (c *Config) Validate() error {
	if c.Users < 1 || c.Rate < 1 || c.Of < 1 || len(c.Targets) < 1 {
		return errors.New("users, rate, targets and the number of processes are at least 1")
	}
	for _, t := range c.Targets {
		if err := validTarget(t); err != nil {
			return err
		}
	}
	return nil
}

func validTarget(target string) error {
	u, err := url.Parse(target)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("target %q is not an address, want one like ws://127.0.0.1:8080/ws", target)
	case u.Scheme != "ws":
		return fmt.Errorf("target %q is not ws://: the tabs of this tool speak no TLS; measure behind the ingress", target)
	case strings.ContainsAny(u.RequestURI(), " \r\n"):
		return fmt.Errorf("target %q has white space in its path", target)
	}
	return nil
}

// target is the one of this process.
func (c *Config) target() string { return c.Targets[c.Index%len(c.Targets)] }

// User is the ID of a user by number, as long as a UUID.
func User(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

// command is a line from the parent.
type command struct {
	Do     string        // "open", "drop", "reset" or "report"
	Tabs   int           // open: how many this process is to hold
	AtOnce int           // open: as fast as it goes, with so many handshakes at once; 0: at the Config's rate
	Within time.Duration // open: after this, those that are not open have failed
	Light  bool          // report: without the Histogram
}

// Report is what the tabs have seen since the last reset; Open and what failed count from the start.
type Report struct {
	Open       int       // tabs that are open now
	Failed     int       // tabs that could not be opened, or were closed by the server
	Resets     int64     // frames that said that a position was lost
	Deliveries int64     // frames that carried a time of sending
	First      int64     // Unix nanoseconds of the first of them
	Last       int64     // and of the last
	Max        int64     // the longest way, nanoseconds
	Ways       Histogram `json:",omitempty"` // nanoseconds from sending to being read
	// Tabs counts the open tabs by their deliveries.
	Tabs  map[int]int `json:",omitempty"`
	Error string      // the first thing that went wrong with a tab
}

// merge adds what another process has seen.
func (r *Report) merge(o Report) {
	r.Open += o.Open
	r.Failed += o.Failed
	r.Resets += o.Resets
	r.Deliveries += o.Deliveries
	if o.First != 0 && (r.First == 0 || o.First < r.First) {
		r.First = o.First
	}
	r.Last = max(r.Last, o.Last)
	r.Max = max(r.Max, o.Max)
	if r.Ways == nil {
		r.Ways = Histogram{}
	}
	r.Ways.Merge(o.Ways)
	if r.Tabs == nil {
		r.Tabs = map[int]int{}
	}
	for n, tabs := range o.Tabs {
		r.Tabs[n] += tabs
	}
	if r.Error == "" {
		r.Error = o.Error
	}
}

// err is what makes a measurement worthless.
func (r *Report) err() error {
	if r.Failed > 0 {
		return fmt.Errorf("%d tabs could not be opened or were closed: %s", r.Failed, r.Error)
	}
	return nil
}
