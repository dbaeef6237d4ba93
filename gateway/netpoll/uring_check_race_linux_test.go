//go:build race

package netpoll

import "testing"

func TestRingFindsADescriptorThatIsTwiceInABatch(t *testing.T) {
	r, _ := ring(t, 8)
	fds, _ := tcpPairs(t, 2)
	r.Send(fds[0], []byte("first"), 1)
	r.Flush()
	r.Send(fds[0], []byte("second"), 1)
	r.Send(fds[1], []byte("second"), 2)
	defer func() {
		if recover() == nil {
			t.Error("no panic at the second send to one socket in a batch")
		}
	}()
	r.Send(fds[0], []byte("third"), 1)
}
