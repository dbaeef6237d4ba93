//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tidings/integration/house"
)

// TestFullDisk: there is no room for the streams any more. Publishers learn of it, tabs stay, readiness goes off and says why. When
// there is room and Tidings was started again, all that was acknowledged arrives once, and what was not can be tried again.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*testing.T, *house.Tidings)
	}{
		{"stopped", func(t *testing.T, d *house.Tidings) {
			if code := d.Terminate(house.Patience); code != 0 {
				t.Errorf("exit code %d on a full disk, want 0", code)
			}
		}},
		{"killed", func(_ *testing.T, d *house.Tidings) { d.Kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := smallDisk(t)
			settings := onDisk(disk)
			d := programs.Start(t, "before", settings).Ready()
			alice := open(t, d, "alice", "")
			js := house.Connect(t, d.NATS())
			y := &tally{size: 4000}
			remove := house.Fill(t, disk, 2<<20)
			if err := y.fails(t.Context(), js, 3, 5000); err != nil {
				t.Fatalf("the disk is full, but %v", err)
			}
			acknowledged := y.published

			house.Eventually(t, house.Patience, "readiness says why", func() error {
				if err := d.IsReady(); err == nil || !strings.Contains(err.Error(), "no space left on device") {
					return fmt.Errorf("it says %v", err)
				}
				return nil
			})
			if status, body, err := d.Get("/healthz"); status != 200 {
				t.Errorf("/healthz says %d %s, %v: a new start does not bring room", status, body, err)
			}
			y.rest(alice)
			c.end(t, d)

			d = programs.Start(t, "on the full disk", settings)
			if code := d.Exit(house.Patience); code != 1 || !strings.Contains(d.Stderr(), "MiB are the least it can work with: free some") {
				t.Errorf("exit code %d and %q on a full disk, want 1 and what to do", code, d.Stderr())
			}
			remove()

			d = programs.Start(t, "after", settings).Ready()
			alice = open(t, d, "alice", alice.cursor)
			alice.expectResume("complete")
			y.all(alice, acknowledged)
			js = house.Connect(t, d.NATS())
			for range 5 * tallied { // the one that failed is the first
				if err := y.publish(t.Context(), js, house.Patience); err != nil {
					t.Fatal(err)
				}
			}
			y.all(alice, y.published)
			t.Logf("%d events acknowledged before the disk was full, %d in all", acknowledged, y.published)
		})
	}
}

// TestReadOnlyDisk: Tidings says so and ends, and loses nothing by it.
func TestReadOnlyDisk(t *testing.T) {
	disk := smallDisk(t)
	settings := onDisk(disk)
	d := programs.Start(t, "before", settings).Ready()
	alice := open(t, d, "alice", "")
	y := &tally{}
	publish := func() {
		js := house.Connect(t, d.NATS())
		for range 2 * tallied {
			if err := y.publish(t.Context(), js, house.Patience); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish()
	y.all(alice, y.published)
	d.Kill()
	remount(t, disk, syscall.MS_RDONLY)
	d = programs.Start(t, "read-only", settings)
	if code := d.Exit(house.Patience); code != 1 || !strings.Contains(d.Stderr(), "is not writable (read-only file system)") {
		t.Errorf("exit code %d and %q on a read-only disk, want 1 and what is wrong", code, d.Stderr())
	}
	remount(t, disk, 0)
	d = programs.Start(t, "after", settings).Ready()
	alice = open(t, d, "alice", alice.cursor)
	alice.expectResume("complete")
	publish()
	y.all(alice, y.published)
}

// smallDisk is a file system that can be filled, which only root may have. Elsewhere the test is skipped, but not in CI.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir, err := house.SmallDisk(t, 160)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("needs root: %v", err)
	}
	return dir
}

func onDisk(dir string) house.Settings {
	return house.Settings{"NATS_STORE": filepath.Join(dir, "store"), "HEARTBEAT": "1s", "LOG_MAX_BYTES": "33554432"}
}

// remount changes the flags of a file system. A file that is open for writing forbids read-only.
func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
		t.Fatal(err)
	}
}
