package gateway

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"tidings/fanout/wire"
)

// BenchmarkDeliver is one event to 1,000 sessions, all writing to one datagram socket, whose peer is full and throws it away. An operation is
// one delivery.
func BenchmarkDeliver(b *testing.B) {
	const sessions = 1000
	w := newBench(b, func(c *Config) { c.IOURing = false })
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	sink, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(sink)
	if err := unix.Connect(sink, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: peer.LocalAddr().(*net.UDPAddr).Port}); err != nil {
		b.Fatal(err)
	}
	for i := range sessions {
		w.simulate(sink, fmt.Sprint("user", i))
	}
	in := w.incoming(1, wire.Record{Kind: wire.All, Notification: note(1)})
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += sessions {
		w.seq++
		in.seq = w.seq
		w.shard.append([]incoming{in})
		w.drain()
	}
	b.StopTimer()
	if s := w.loop.slots[0].session; s == nil || s.pos != w.seq {
		b.Fatal("they were not delivered")
	}
	for i := range w.loop.slots { // they share a descriptor: the loop must not close them
		w.loop.slots[i].session = nil
	}
}
