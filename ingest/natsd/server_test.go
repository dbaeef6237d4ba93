package natsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// childStore makes the test binary a second process that holds a store until it is killed.
const childStore = "TIDINGS_TEST_CHILD_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childStore); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func child(dir string) {
	s, err := Start(Config{NATSStore: dir, NATSListen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready:", s.ClientURL())
	select {}
}

func config(t *testing.T) Config {
	return Config{NATSStore: filepath.Join(t.TempDir(), "store"), NATSListen: "127.0.0.1:0"}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func mustStart(t *testing.T, cfg Config, boot string) *Server {
	t.Helper()
	s, err := start(cfg, quiet(), func() (string, error) { return boot, nil }, freeBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func TestStreamsSurviveARestart(t *testing.T) {
	ctx, cfg := t.Context(), config(t)
	for run := range uint64(2) {
		s := mustStart(t, cfg, "boot-1")
		nc, err := s.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		js, _ := jetstream.New(nc)
		if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(ctx, "s", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if ack.Sequence != run+1 {
			t.Errorf("run %d: got sequence %d, want %d", run, ack.Sequence, run+1)
		}
		nc.Close()
		s.Shutdown()
	}
}

func TestOtherClientsConnect(t *testing.T) {
	s := mustStart(t, config(t), "boot-1")
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatalf("connect to %s: %v", s.ClientURL(), err)
	}
	defer nc.Close()
	if err := nc.Flush(); err != nil {
		t.Error(err)
	}
	if got, want := nc.MaxPayload(), int64(1<<20); got != want {
		t.Errorf("max payload: got %d, want %d", got, want)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	plenty := func(string) (int64, error) { return 1 << 40, nil }
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := mustStart(t, config(t), "boot-1")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		free   func(string) (int64, error)
		want   string
	}{
		{"port taken", func(c *Config) { c.NATSListen = taken.Addr().String() }, plenty, "is taken by another program"},
		{"not our address", func(c *Config) { c.NATSListen = "192.0.2.1:4222" }, plenty, "cannot listen on the NATS address 192.0.2.1:4222"},
		{"a file", func(c *Config) { c.NATSStore = file }, plenty, "is not a directory"},
		{"below a file", func(c *Config) { c.NATSStore = filepath.Join(file, "below") }, plenty, "is not a directory"},
		{"cannot be made", func(c *Config) { c.NATSStore = "/proc/tidings" }, plenty, "the NATS store /proc/tidings"},
		{"in use", func(c *Config) { c.NATSStore = busy.store.dir }, plenty, "is in use by another process"},
		{"disk full", func(*Config) {}, func(string) (int64, error) { return 3 << 20, nil }, "has 3 MiB free"},
		{"no port", func(c *Config) { c.NATSListen = "localhost" }, plenty, "want host:port"},
		{"bad port", func(c *Config) { c.NATSListen = "localhost:nats" }, plenty, "a number from 0 to 65535"},
		{"no store", func(c *Config) { c.NATSStore = " " }, plenty, "TIDINGS_NATS_STORE is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(t)
			c.change(&cfg)
			s, err := start(cfg, quiet(), func() (string, error) { return "boot-1", nil }, c.free)
			if err == nil {
				s.Shutdown()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q", err, c.want)
			}
		})
	}
}

func TestReadOnlyStore(t *testing.T) {
	cfg := config(t)
	if err := os.Mkdir(cfg.NATSStore, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		t.Skip("root writes everywhere")
	}
	s, err := Start(cfg, quiet())
	if err == nil {
		s.Shutdown()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "is not writable") {
		t.Errorf("got %q, want: is not writable", err)
	}
}

func TestPowerLost(t *testing.T) {
	cfg := config(t)
	marker := filepath.Join(cfg.NATSStore, "running")
	s := mustStart(t, cfg, "boot-1")
	if s.PowerLost() {
		t.Error("a new store: got power lost")
	}
	left, err := os.ReadFile(marker)
	if err != nil {
		t.Fatalf("no marker while running: %v", err)
	}
	s.Shutdown()
	if _, err := os.Stat(marker); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("marker after a clean end: got %v, want none", err)
	}

	steps := []struct {
		name   string
		crash  bool // the marker of the run before is still there
		boot   string
		settle bool
		want   bool
	}{
		{"clean end, same boot", false, "boot-1", false, false},
		{"clean end, new boot", false, "boot-2", false, false},
		{"process killed", true, "boot-1", false, false},
		{"machine went down", true, "boot-2", false, true},
		{"not settled", false, "boot-2", true, true},
		{"settled", false, "boot-2", false, false},
	}
	for _, c := range steps {
		if c.crash {
			if err := os.WriteFile(marker, left, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := mustStart(t, cfg, c.boot)
		if got := s.PowerLost(); got != c.want {
			t.Errorf("%s: got power lost %v, want %v", c.name, got, c.want)
		}
		if c.settle {
			if err := s.PowerLossSettled(); err != nil || s.PowerLost() {
				t.Errorf("%s: settle: got %v, power lost %v", c.name, err, s.PowerLost())
			}
		}
		s.Shutdown()
	}
}

// A real second process holds the store; killed, it leaves the store usable and no power loss.
func TestKilledProcess(t *testing.T) {
	cfg := config(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childStore+"="+cfg.NATSStore)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	defer kill()
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil || !bytes.HasPrefix(line, []byte("ready:")) {
		t.Fatalf("second process: %q, %v", line[:n], err)
	}
	if _, err := Start(cfg, quiet()); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("two processes on one store: got %v", err)
	}
	kill()
	s, err := Start(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	if s.PowerLost() {
		t.Error("after kill -9: got power lost")
	}
}

func TestDialTriesForEver(t *testing.T) {
	cfg := config(t)
	first := mustStart(t, cfg, "boot-1")
	address := strings.TrimPrefix(first.ClientURL(), "nats://")
	first.Shutdown()

	var lines bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(&lockedWriter{&mu, &lines}, nil))
	nc, err := Dial("nats://user:secret@"+address, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish("x", nil); err == nil {
		t.Error("publish without a connection: got nil, want an error at once")
	}
	waitFor(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(lines.String(), "connection refused")
	})
	cfg.NATSListen = address
	for range 2 { // at the start, and when it comes back
		s := mustStart(t, cfg, "boot-1")
		waitFor(t, func() bool { return nc.IsConnected() })
		s.Shutdown()
		waitFor(t, func() bool { return !nc.IsConnected() })
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(lines.String(), "not reachable yet") || strings.Contains(lines.String(), "secret") {
		t.Errorf("log: got %s, want the lack of a server and no password", &lines)
	}
	if n := strings.Count(lines.String(), "cannot connect to NATS"); n == 0 || n > 6 || !strings.Contains(lines.String(), "connection refused") {
		t.Errorf("log: got %s, want the reason, and not at every attempt", &lines)
	}
}

func TestDialRefusesNonsense(t *testing.T) {
	for _, url := range []string{"", "nats://", "a,,b", "nats://%zz"} {
		if nc, err := Dial(url, "test", quiet()); err == nil {
			nc.Close()
			t.Errorf("Dial(%q): got nil, want an error", url)
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("waited 15 s in vain")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
