package memory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// group is a control group with a limit of memory.
type group interface {
	// used is the memory that counts against the limit, in bytes, without the files' that the kernel can drop: what Kubernetes calls the working set.
	used() (uint64, error)
}

// unlimited: version 1 says a huge number, a multiple of the page size, where there is no limit.
const unlimited = 1 << 60

// findGroup gives the control group that limits this process and its limit; none, and 0, where nothing does.
// Sources: the kernel's documentation, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/memory.rst, and cgroups(7) for /proc/self/cgroup.
func findGroup(root fs.FS) (g group, limit uint64, err error) {
	list, err := fs.ReadFile(root, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) { // not Linux
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	for line := range strings.Lines(string(list)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		var v version
		switch {
		case parts[1] == "":
			v = version2
		case hasWord(parts[1], "memory"):
			v = version1
		default:
			continue
		}
		if g, limit, err := v.find(root, parts[2]); err != nil || limit > 0 {
			return g, limit, err
		}
	}
	return nil, 0, nil
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// version is where a version of control groups keeps what.
type version struct{ mount, limit, usage, droppable string }

var (
	version2 = version{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"}
	version1 = version{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
)

// find looks for the lowest limit from the process's group up to the root: all of them hold. In a container without a name space for control groups the
// path is the host's, and not there; then the mount's root is the container's group.
func (v version) find(root fs.FS, name string) (g group, limit uint64, err error) {
	for dir := path.Clean("/" + name); ; dir = path.Dir(dir) {
		at := path.Join(v.mount, dir)
		text, err := fs.ReadFile(root, path.Join(at, v.limit))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, 0, err
		default:
			n, err := parseLimit(text)
			if err != nil {
				return nil, 0, fmt.Errorf("%s: %w", path.Join(at, v.limit), err)
			}
			if n > 0 && (limit == 0 || n < limit) {
				g, limit = &dirGroup{root, at, v}, n
			}
		}
		if dir == "/" {
			return g, limit, nil
		}
	}
}

// parseLimit reads a limit; 0 is none.
func parseLimit(text []byte) (uint64, error) {
	text = bytes.TrimSpace(text)
	if string(text) == "max" {
		return 0, nil
	}
	n, err := parseNumber(text)
	if err != nil || n >= unlimited {
		return 0, err
	}
	return n, nil
}

func parseNumber(text []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", text, errNoNumber)
	}
	return n, nil
}

type dirGroup struct {
	root fs.FS
	dir  string
	version
}

func (g *dirGroup) used() (uint64, error) {
	text, err := fs.ReadFile(g.root, path.Join(g.dir, g.usage))
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(text)
	if err != nil {
		return 0, err
	}
	stat, err := fs.ReadFile(g.root, path.Join(g.dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(stat))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), g.droppable+" "); ok {
			d, err := parseNumber([]byte(value))
			return n - min(n, d), err
		}
	}
	return n, nil
}
