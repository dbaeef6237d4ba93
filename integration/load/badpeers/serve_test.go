//go:build linux

package badpeers

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server gives every connection to f.
type server struct {
	address string
	l       net.Listener
	all     sync.WaitGroup
}

func serve(t *testing.T, f func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: l.Addr().String(), l: l}
	s.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				f(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); s.all.Wait() })
	return s
}

// driver is the process, within this one.
type driver struct {
	in    *io.PipeWriter
	out   *json.Decoder
	ended chan error
}

func drive(t *testing.T, cfg Config) *driver {
	t.Helper()
	in, commands := io.Pipe()
	answers, out := io.Pipe()
	d := &driver{commands, json.NewDecoder(answers), make(chan error, 1)}
	go func() {
		err := Serve(in, out)
		out.CloseWithError(io.EOF)
		d.ended <- err
	}()
	t.Cleanup(func() { commands.Close() })
	if err := json.NewEncoder(commands).Encode(cfg); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *driver) ready(t *testing.T) {
	t.Helper()
	if err := d.out.Decode(&Report{}); err != nil {
		t.Fatal(err)
	}
}

func (d *driver) leave(t *testing.T) (r Report) {
	t.Helper()
	d.in.Close()
	if err := d.out.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if err := <-d.ended; err != nil {
		t.Fatal(err)
	}
	return r
}

// requests name their peers with the last byte.
func requests(n int) (list [][]byte) {
	for i := range n {
		list = append(list, []byte("GET /ws HTTP/1.1\r\n\r\n"+string(rune('a'+i))))
	}
	return list
}

// What each kind sends, by the name in its request: two of each.
func TestEveryKindDoesItsHarm(t *testing.T) {
	const peers = 2 * Kinds
	var mu sync.Mutex
	sent := map[byte]*bytes.Buffer{} // behind the request, of the first connection
	size := len(requests(1)[0])
	seen := func(name byte) int {
		mu.Lock()
		defer mu.Unlock()
		if sent[name] == nil {
			return -1
		}
		return sent[name].Len()
	}
	s := serve(t, func(c net.Conn) {
		head := make([]byte, size)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		name := head[size-1]
		mu.Lock()
		if sent[name] != nil { // it is back
			mu.Unlock()
			return
		}
		sent[name] = &bytes.Buffer{}
		mu.Unlock()
		c.Write(bytes.Repeat([]byte("event"), 4000))
		b := make([]byte, 4096)
		for seen(name) < 200 {
			n, err := c.Read(b)
			mu.Lock()
			sent[name].Write(b[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	d := drive(t, Config{Address: s.address, Requests: requests(peers), Limit: 20 * time.Second})
	d.ready(t)
	full := map[byte]bool{}
	for end := time.Now().Add(15 * time.Second); len(full) < 5 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for name, least := range map[byte]int{'e': 12, 'i': 30, 'k': 200, 'l': 200, 'm': 200} {
			if seen(name) >= least {
				full[name] = true
			}
		}
	}
	r := d.leave(t)
	if err := r.Check(peers); err != nil {
		t.Errorf("%v: %+v", err, r)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, c := range []struct {
		name  byte
		kind  string
		begin []byte
		most  int
	}{
		{'a', "never reads", nil, 0},
		{'c', "reads slowly", nil, 0},
		{'e', "half a frame", []byte{0x81, 0x80 | 39, 0, 0, 0, 0, 'a', ' '}, 12},
		{'i', "byte by byte", []byte{0x89, 0x84, 0, 0, 0, 0, 's', 'l', 'o', 'w', 0x89}, 1 << 20},
		{'k', "floods, with text", []byte{0x81, 0x82, 0, 0, 0, 0, '{', '}', 0x81}, 1 << 20},
		{'l', "floods, with pings", []byte{0x89, 0x80 | 125, 0, 0, 0, 0, 'x'}, 1 << 20},
		{'m', "garbage", []byte{0xff, 12, 0xff, 12}, 256},
	} {
		b := sent[c.name]
		if b == nil || !bytes.HasPrefix(b.Bytes(), c.begin) || b.Len() > c.most {
			t.Errorf("%s: got %v, want a request, then %v and at most %d bytes", c.kind, b, c.begin, c.most)
		}
	}
	for _, name := range []byte{'g', 'h'} {
		if sent[name] != nil {
			t.Errorf("half a handshake: all of it came of %c", name)
		}
	}
	if n := r.Kinds["comes and resets"].Made; n < 2 {
		t.Errorf("comes and resets: %d connections", n)
	}
}

// Who is thrown out comes back, but not at once: no kind may turn into a loop without rest.
func TestPeersComeBackAtABoundedRate(t *testing.T) {
	s := serve(t, func(net.Conn) {}) // ends everything
	began := time.Now()
	d := drive(t, Config{Address: s.address, Requests: requests(Kinds), Limit: 20 * time.Second})
	d.ready(t)
	time.Sleep(2 * time.Second) // the time that is measured
	r := d.leave(t)
	for name, tally := range r.Kinds {
		if most := int(time.Since(began) / (250 * time.Millisecond)); tally.Made < 1 || tally.Made > most {
			t.Errorf("%s: %d connections within %v, want 1 to %d", name, tally.Made, time.Since(began), most)
		}
	}
	if err := r.Check(Kinds); err == nil || !strings.Contains(err.Error(), "never read") {
		t.Errorf("nothing was stalled, but got %v", err)
	}
}

func TestWhatGoesWrongIsSaid(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		s := serve(t, func(net.Conn) {})
		s.l.Close()
		d := drive(t, Config{Address: s.address, Requests: requests(Kinds), Limit: 20 * time.Second})
		d.ready(t)
		r := d.leave(t)
		if err := r.Check(Kinds); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("got %v, want a refused connection", err)
		}
	})
	t.Run("nobody tells them to leave", func(t *testing.T) {
		s := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
		d := drive(t, Config{Address: s.address, Requests: requests(Kinds), Limit: 300 * time.Millisecond})
		d.ready(t)
		if err := <-d.ended; err == nil || !strings.Contains(err.Error(), "leave") {
			t.Errorf("got %v, want an end after the limit", err)
		}
	})
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"too few", Config{Address: "x:1", Limit: 1, Requests: requests(Kinds - 1)}, "one for each"},
		{"no address", Config{Limit: 1, Requests: requests(Kinds)}, "address"},
		{"no end", Config{Address: "x:1", Requests: requests(Kinds)}, "limit"},
		{"no request", Config{Address: "x:1", Limit: 1, Requests: make([][]byte, Kinds)}, "handshake"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestPeersAreDealtOutInBlocks(t *testing.T) {
	for _, peers := range []int{Kinds, 9, 100, 500} {
		var blocks []string
		fed, stalled := 0, 0
		for i := range peers {
			k := kindOf(i, peers)
			if len(blocks) == 0 || blocks[len(blocks)-1] != k.name {
				blocks = append(blocks, k.name)
			}
			if k == &kinds[0] {
				stalled++
			}
			if k.small {
				fed++
			}
		}
		if len(blocks) != Kinds || Stalled(peers) != stalled || Fed(peers) != fed {
			t.Errorf("%d peers: %d blocks, %d stalled and %d fed, counted %d and %d", peers, len(blocks), Stalled(peers), Fed(peers), stalled, fed)
		}
	}
}
