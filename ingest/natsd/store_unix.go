//go:build unix

package natsd

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock or fails at once. The kernel gives it back when the process ends, however it ends.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// freeBytes is what an ordinary user can still write to dir's disk.
func freeBytes(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(uint64(fs.Bavail) * uint64(fs.Bsize)), nil
}
