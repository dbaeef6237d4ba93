//go:build race

package netpoll

import (
	"fmt"
	"runtime"
	"unsafe"
)

// misuse finds what a Ring's owner must not do, and lets the race detector know that the bytes are read.
type misuse struct{ batch map[int]struct{} }

func (m *misuse) queued(fd int, b []byte) {
	if _, twice := m.batch[fd]; twice {
		panic(fmt.Sprintf("netpoll: descriptor %d is twice in a batch, flush in between", fd))
	}
	if m.batch == nil {
		m.batch = map[int]struct{}{}
	}
	m.batch[fd] = struct{}{}
	runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(b)), len(b))
}

func (m *misuse) flushed() { clear(m.batch) }
