//go:build linux

package badpeers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Config is what the process is told when it starts.
type Config struct {
	Address  string        // host:port of the server
	Requests [][]byte      // one for each peer: an acceptable handshake
	Limit    time.Duration // after this the process ends by itself
}

// MaxPeers bounds a process.
const MaxPeers = 5000

// Validate tells what is wrong with c.
func (c *Config) Validate() error {
	switch {
	case c.Address == "" || c.Limit <= 0:
		return errors.New("bad peers need an address and a limit of their time")
	case len(c.Requests) < len(kinds) || len(c.Requests) > MaxPeers:
		return fmt.Errorf("got %d requests, want one for each of %d to %d bad peers", len(c.Requests), len(kinds), MaxPeers)
	case slices.ContainsFunc(c.Requests, func(r []byte) bool { return len(r) < 16 }):
		return errors.New("a request of less than 16 bytes is no handshake")
	}
	return nil
}

// Report is what became of the peers.
type Report struct {
	Kinds map[string]Tally
	Full  int    // peers that never read and have unread bytes
	Error string // the first connection that could not be made
}

// Tally counts the connections of one kind.
type Tally struct {
	Made   int // connections
	Failed int // that could not be made
	Ended  int // by the server
}

// Check tells why the peers were not what they should be: a server that they did not reach did not suffer from them.
func (r *Report) Check(peers int) error {
	for _, name := range slices.Sorted(maps.Keys(r.Kinds)) {
		if t := r.Kinds[name]; t.Failed > 0 || t.Made == 0 {
			return fmt.Errorf("bad peers, %s: %d connections made and %d failed: %s", name, t.Made, t.Failed, r.Error)
		}
	}
	if want := Stalled(peers); r.Full < want {
		return fmt.Errorf("%d of %d bad peers that never read have something to read: nothing was stalled", r.Full, want)
	}
	return nil
}
