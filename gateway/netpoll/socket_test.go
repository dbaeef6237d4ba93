//go:build unix

package netpoll

import (
	"errors"
	"testing"
)

// Both ways of writing say the same of a socket that is full, and of one that nobody reads any more; reading tells nothing from the end.
func TestWritesAndReads(t *testing.T) {
	for name, write := range map[string]func(int, []byte) (int, error){"Write": Write, "WriteOnce": WriteOnce} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			defer Close(a)
			buf := make([]byte, 64<<10)
			if n, err := Read(b, buf); n != 0 || !errors.Is(err, ErrAgain) {
				t.Errorf("nothing to read: got %d, %v", n, err)
			}
			sent, full := 0, false
			for !full {
				n, err := write(a, buf)
				full = errors.Is(err, ErrAgain)
				if err != nil && !full {
					t.Fatal(err)
				}
				sent += n
			}
			for got := 0; got < sent; {
				n, err := Read(b, buf)
				if err != nil || n == 0 {
					t.Fatalf("read %d, %v behind %d of %d bytes", n, err, got, sent)
				}
				got += n
			}
			CloseWrite(b)
			if n, err := Read(a, buf); n != 0 || err != nil {
				t.Errorf("end of stream: got %d, %v", n, err)
			}
			Close(b)
			if _, err := write(a, buf); err == nil || errors.Is(err, ErrAgain) { // and no signal
				t.Errorf("nobody reads any more: got %v", err)
			}
		})
	}
}
