package gateway

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	runtimemetrics "runtime/metrics"
	"testing"

	"golang.org/x/sys/unix"

	"tidings/fanout/wire"
)

// BenchmarkMillionSessions has a million idle sessions in one process, with everything but sockets: the real Session, loop, wheel,
// hub and tail. What is written goes to a datagram socket that nobody reads.
//
//	go test -run - -bench Million -benchtime 500000x ./gateway
//
// B/session is live memory, behind a collection. An operation is one delivery to one user, made as fast as possible; gc-% is the
// collector's share of a core at 5,000 deliveries a second, and gc-pause-ms the longest it stopped everything.
func BenchmarkMillionSessions(b *testing.B) {
	const sessions, perSecond = 1_000_000, 5000
	w := newBench(b, func(c *Config) { c.TailBytes = 64 << 20 })
	sink, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(sink)
	// Bound, so that nobody refuses what is sent, and with a buffer that is full soon: what does not fit is dropped.
	nobody, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(nobody)
	if err := unix.Bind(nobody, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		b.Fatal(err)
	}
	at, err := unix.Getsockname(nobody)
	if err == nil {
		err = unix.Connect(sink, at)
	}
	if err != nil {
		b.Fatal(err)
	}
	before := liveHeap()
	users := make([][36]byte, sessions*10/13)
	for i := range users {
		copy(users[i][:], fmt.Sprintf("%08x-0000-4000-8000-%012x", rand.Uint32(), i))
	}
	names := liveHeap() - before // of the benchmark's own list
	for i := range sessions {
		w.simulate(sink, string(users[i%len(users)][:]))
	}
	perSession := float64(liveHeap()-before-names) / sessions
	gc, _ := collector()
	b.ResetTimer()
	for i := range b.N {
		w.seq++
		w.shard.append([]incoming{w.incoming(w.seq, wire.Record{
			Kind: wire.Users, Users: []string{string(users[rand.IntN(len(users))][:])}, Notification: note(i),
		})})
		w.loop.drain(1 << 20)
	}
	b.StopTimer()
	for i := range w.loop.slots {
		if s := w.loop.slots[i].session; s == nil || s.state != live {
			b.Fatal("a session is not live any more: not all was delivered")
		}
	}
	after, pause := collector()
	b.ReportMetric(perSession, "B/session")
	b.ReportMetric(100*(after-gc)/(float64(b.N)/perSecond), "gc-%")
	b.ReportMetric(1000*pause, "gc-pause-ms")
	for i := range w.loop.slots { // they share a descriptor: the loop must not close them
		w.loop.slots[i].session = nil
	}
}

// simulate adds a live session of user that writes to fd.
func (b *bench) simulate(fd int, user string) {
	l := b.loop
	l.gen++
	s := &Session{loop: l, fd: int32(fd), slot: int32(len(l.slots)), id: b.gate.nextSession(), shard: b.shard, user: user, state: live, live: true}
	l.slots = append(l.slots, slot{session: s, gen: l.gen})
	p := b.shard.promised()
	s.life, s.pos = p.life, p.seq
	if !b.shard.attach(s, 1<<30) {
		b.t.Fatal("not attached")
	}
	s.beat = l.sec + 1 + uint32(s.id)%l.gate.heartSeconds
	s.remind(s.beat)
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// collector is the processor time of all collections so far, and their longest pause, in seconds.
func collector() (cpu, pause float64) {
	s := []runtimemetrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/sched/pauses/total/gc:seconds"}}
	runtimemetrics.Read(s)
	h := s[1].Value.Float64Histogram()
	for i, n := range h.Counts {
		if n > 0 {
			pause = h.Buckets[i+1]
		}
	}
	return s[0].Value.Float64(), pause
}
