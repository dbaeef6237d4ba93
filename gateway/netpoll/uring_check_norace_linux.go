//go:build !race

package netpoll

// misuse looks for nothing: see the build with -race.
type misuse struct{}

func (misuse) queued(int, []byte) {}
func (misuse) flushed()           {}
