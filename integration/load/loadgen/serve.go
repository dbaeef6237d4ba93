//go:build linux

package loadgen

import (
	"encoding/json"
	"fmt"
	"io"
)

// Serve is the life of one process of a Fleet. It ends, without an error, when in does; after an error a goroutine may still
// wait for in, and the process should end.
func Serve(in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(in)
	var cfg Config
	if err := lines.Decode(&cfg); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	answers := json.NewEncoder(out)
	commands, failed, read := make(chan command, 1), make(chan struct{}), make(chan struct{})
	g, err := newGenerator(cfg, commands, func(r Report) error { return answers.Encode(r) })
	if err != nil {
		return err
	}
	go func() {
		defer close(read)
		for {
			var c command
			if lines.Decode(&c) != nil { // the parent has closed its end, or died
				close(commands)
				g.poller.wake()
				return
			}
			select {
			case commands <- c:
				g.poller.wake()
			case <-failed:
				return
			}
		}
	}()
	if err := g.run(); err != nil {
		close(failed)
		return err
	}
	<-read
	return g.poller.close()
}
