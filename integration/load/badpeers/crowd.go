//go:build linux

package badpeers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// Crowd is the parent's side of the process. It belongs to one goroutine.
type Crowd struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// Start starts the process of a command that must call Serve on its standard input and output, and waits until every peer is there. It
// ends with ctx.
func Start(ctx context.Context, cfg Config, command func(context.Context) *exec.Cmd) (*Crowd, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Crowd{cmd: command(ctx)}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the bad peers: %w", err)
	}
	c.in, c.out = in, json.NewDecoder(out)
	err = json.NewEncoder(in).Encode(cfg)
	if err == nil {
		err = c.out.Decode(&Report{})
	}
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("the bad peers have ended: %w", errors.Join(err, c.cmd.Wait()))
	}
	return c, nil
}

// PID is the process's number.
func (c *Crowd) PID() int { return c.cmd.Process.Pid }

// Leave closes every connection, ends the process and tells what became of the peers.
func (c *Crowd) Leave() (r Report, err error) {
	c.in.Close() // which ends Serve
	err = c.out.Decode(&r)
	return r, errors.Join(err, c.cmd.Wait())
}
