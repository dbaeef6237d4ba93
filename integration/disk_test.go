package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// smallDisk mounts a file system of so many bytes, which only root may do. Elsewhere the test is skipped, but not in CI.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("a disk of its own could not be mounted: %v", err)
		}
		t.Skipf("needs root, to mount a disk of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// ballast fills a disk but for so many bytes.
func ballast(t *testing.T, dir string, rest int64) (remove func()) {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-rest); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

const wants = 5

func TestDiskProbe(t *testing.T) {
	for _, kind := range []string{"full", "ro"} {
		t.Run(kind, func(t *testing.T) {
			disk := smallDisk(t, 160<<20)
			store := filepath.Join(disk, "store")
			d := programs.Start(t, "all", house.Settings{"NATS_STORE": store, "HEARTBEAT": "1s"}).Ready()
			js := house.Connect(t, d.NATS())
			alice := open(t, d, "alice", "")
			tell(t, js, "e-1", "alice")
			alice.expect("e-1")
			if kind == "full" {
				ballast(t, disk, 3<<20)
			} else if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			fails := 0
			for i := 2; i < 3000 && fails < 4; i++ {
				m := nats.NewMsg(fmt.Sprintf("events.test.%d.told", i%5))
				m.Header.Set(nats.MsgIdHdr, fmt.Sprint("e-", i))
				m.Data = fmt.Appendf(nil, `{"userIds":["alice"],"pad":"%*s"}`, 4000, "")
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				_, err := js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
				cancel()
				if err != nil {
					fails++
					t.Logf("%d: %v; ready: %v", i, err, d.IsReady())
				}
			}
			end := time.Now().Add(8 * time.Second)
			n := 0
			var last any
			for time.Now().Before(end) {
				f, err := alice.Next(time.Second)
				if wsclient.Timeout(err) {
					continue
				}
				if err != nil {
					t.Log(err)
					break
				}
				last = f
				if _, ok := f.(wsclient.Notification); ok {
					n++
				}
			}
			t.Logf("%d notifications, last %.200v", n, last)
			t.Logf("ready: %v; ended %v", d.IsReady(), d.Ended())
			t.Log(d.Stderr())
			for _, s := range []string{"EVENTS", "LOG_0"} {
				info, err := house.Info(js, s)
				if err == nil {
					t.Log(s, info.State.LastSeq)
				} else {
					t.Log(s, err)
				}
			}
			if kind == "full" {
				os.Remove(filepath.Join(disk, "ballast"))
			} else {
				syscall.Mount("", disk, "", syscall.MS_REMOUNT, "")
			}
			_, err := js.Publish(context.Background(), "events.test.1.told", []byte(`{"userIds":["alice"]}`))
			t.Log("with room:", err)
			t.Log("exit", d.Terminate(house.Patience))
			_ = errors.New
		})
	}
}
