package natsd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// marker is the file that tells a crash of the machine from one of the process. It holds the kernel's boot id while the
// server runs, and is removed by a clean end. Found with this boot's id, the process was killed, and the kernel still
// wrote everything; found with another one, the machine went down and up to a second of the streams' end may be gone.
type marker struct {
	path string
	boot string // this boot's id; "" where the system has none
	cut  bool   // the end of the streams may be cut
}

// openMarker reads what the run before left behind, and says that this one has begun. After a power loss the old
// marker stays until settle, so that a crash before anyone could act on it does not lose the knowledge.
func openMarker(dir string, bootID func() (string, error)) (*marker, error) {
	m := &marker{path: filepath.Join(dir, "running")}
	id, err := bootID()
	if err != nil {
		return m, nil // not Linux: a power loss cannot be told from a kill
	}
	m.boot = strings.TrimSpace(id)
	old, err := os.ReadFile(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, storeError(dir, err)
	default:
		m.cut = strings.TrimSpace(string(old)) != m.boot
	}
	if m.cut {
		return m, nil
	}
	return m, m.write()
}

// settle: whoever had to know of the power loss knows.
func (m *marker) settle() error {
	if !m.cut {
		return nil
	}
	if err := m.write(); err != nil {
		return err
	}
	m.cut = false
	return nil
}

// remove is the mark of a clean end. A power loss nobody has settled stays marked.
func (m *marker) remove() error {
	if m.cut || m.boot == "" {
		return nil
	}
	if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeError(filepath.Dir(m.path), err)
	}
	return syncDir(filepath.Dir(m.path))
}

// write puts the boot id on the disk for certain, by way of a second file: a marker cut short would look like a power loss.
func (m *marker) write() error {
	dir, next := filepath.Dir(m.path), m.path+".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return storeError(dir, err)
	}
	_, err = f.WriteString(m.boot + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(next, m.path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return storeError(dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func readBootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(b), err
}
