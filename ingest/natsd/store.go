package natsd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// minFree is what the disk must have free at start: a few message blocks, the index files, and room to notice.
const minFree = 64 << 20

// store is the directory, ours alone until close.
type store struct {
	dir  string
	lock *os.File
}

// openStore makes the directory, checks that it can be written, and locks it against a second process: two servers on one
// directory would write over each other's streams.
func openStore(dir string, free func(dir string) (int64, error)) (*store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, storeError(dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "tidings.lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, storeError(dir, err)
	}
	if err := lockFile(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("the NATS store %s is in use by another process: stop that one, or give this one a directory of its own with TIDINGS_NATS_STORE", dir)
	}
	if n, err := free(dir); err == nil && n < minFree {
		lock.Close()
		return nil, fmt.Errorf("the disk of the NATS store %s has %d MiB free, and %d MiB are the least it can work with: free some, or point TIDINGS_NATS_STORE elsewhere", dir, n>>20, minFree>>20)
	}
	return &store{dir, lock}, nil
}

// close gives the directory free. The lock file stays: removing it would race with the next process that locks it.
func (s *store) close() { s.lock.Close() }

// size is what the streams take on the disk already, in bytes.
func (s *store) size() (n int64) {
	_ = filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a file that went away meanwhile; the sum is an estimate
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

func storeError(dir string, err error) error {
	const do = "give Tidings a directory it can write with TIDINGS_NATS_STORE"
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("the NATS store %s is not a directory: %s", dir, do)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the NATS store %s is not writable (%v): %s", dir, reason(err), do)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of the NATS store %s is full: free some, or %s", dir, do)
	}
	return fmt.Errorf("the NATS store %s cannot be used (%v): %s", dir, reason(err), do)
}

// reason is the system's word for err, without the path that the sentence has already.
func reason(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
