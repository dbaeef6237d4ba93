package memory

import (
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func tree(files map[string]string) fstest.MapFS {
	t := fstest.MapFS{}
	for name, text := range files {
		t[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return t
}

func TestFindGroup(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		limit uint64
		used  uint64
	}{
		"version 2, in a container": {map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "536870912\n",
			"sys/fs/cgroup/memory.current": "100000\n",
			"sys/fs/cgroup/memory.stat":    "anon 5\ninactive_file 40000\nactive_file 7\n",
		}, 536870912, 60000},
		"version 2, the lowest of those above holds": {map[string]string{
			"proc/self/cgroup":                         "0::/pods/a/b\n",
			"sys/fs/cgroup/pods/memory.max":            "1000\n",
			"sys/fs/cgroup/pods/memory.current":        "900\n",
			"sys/fs/cgroup/pods/memory.stat":           "inactive_file 1\n",
			"sys/fs/cgroup/pods/a/memory.max":          "max\n",
			"sys/fs/cgroup/pods/a/b/memory.max":        "5000\n",
			"sys/fs/cgroup/pods/a/b/memory.current":    "600\n",
			"sys/fs/cgroup/pods/a/b/memory.stat":       "inactive_file 1\n",
			"sys/fs/cgroup/pods/a/b/memory.swap.max":   "0\n",
			"sys/fs/cgroup/unrelated/memory.max":       "1\n",
			"sys/fs/cgroup/pods/unrelated/memory.max":  "1\n",
			"sys/fs/cgroup/pods/a/unrelated/whatever":  "1\n",
			"sys/fs/cgroup/pods/a/b/children/whatever": "1\n",
		}, 1000, 899},
		"version 1, the path is the host's": {map[string]string{
			"proc/self/cgroup":                           "12:cpu,cpuacct:/kubepods/x\n5:memory:/kubepods/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
			"sys/fs/cgroup/memory/memory.stat":           "inactive_file 1\ntotal_inactive_file 100\n",
		}, 2000000, 900},
		"version 1, no limit": {map[string]string{
			"proc/self/cgroup":                           "5:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0, 0},
		"version 2, no limit":         {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0, 0},
		"the root group has no files": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.procs": "1\n"}, 0, 0},
		"both versions": {map[string]string{
			"proc/self/cgroup": "1:name=systemd:/\n5:memory:/x\n0::/x\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "3000\n",
			"sys/fs/cgroup/memory/x/memory.usage_in_bytes": "10\n",
			"sys/fs/cgroup/memory/x/memory.stat":           "total_inactive_file 20\n",
		}, 3000, 0},
		"not Linux": {nil, 0, 0},
		"nonsense":  {map[string]string{"proc/self/cgroup": "what\n\n::\n"}, 0, 0},
	} {
		g, limit, err := findGroup(tree(c.files))
		if err != nil || limit != c.limit || (g != nil) != (limit > 0) {
			t.Errorf("%s: got %v, %d, %v, want the limit %d", name, g, limit, err, c.limit)
			continue
		}
		if g == nil {
			continue
		}
		if used, err := g.used(); err != nil || used != c.used {
			t.Errorf("%s: got %d and %v used, want %d", name, used, err, c.used)
		}
	}
}

func TestUnreadableLimit(t *testing.T) {
	files := tree(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "a lot\n"})
	_, err := newBudget(files, 0, quiet, prometheus.NewRegistry())
	if !errors.Is(err, errNoNumber) || !strings.Contains(err.Error(), "TIDINGS_MEMORY_LIMIT") || !strings.Contains(err.Error(), "memory.max") {
		t.Errorf("got %v, want where it is, and what to do", err)
	}
}

// What the others use is taken from the runtime's share, and whoever asks is told when there is no room.
func TestBudget(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	t.Setenv("GOMEMLIMIT", "")
	const limit = 1 << 40 // more than the test itself uses
	files := tree(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1099511627776\n"})
	use := func(share float64) {
		n := uint64(share * limit)
		for name, text := range map[string]string{"memory.current": strconv.FormatUint(n+1000, 10), "memory.stat": "inactive_file 1000\n"} {
			files["sys/fs/cgroup/"+name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	use(0.1)
	b, err := newBudget(files, 0, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		use  float64
		full bool
		goes float64 // the runtime's share
	}{
		{0.1, false, 0.8}, {0.5, false, 0.4}, {0.91, false, 0.25}, {0.93, true, 0.25}, {0.9, true, 0.25}, {0.87, false, 0.25}, {0.91, false, 0.25}, {0.3, false, 0.6},
	} {
		use(step.use)
		b.look()
		if b.Full() != step.full {
			t.Errorf("%v used: full is %v, want %v", step.use, b.Full(), step.full)
		}
		if got := float64(debug.SetMemoryLimit(-1)) / limit; got < step.goes-0.02 || got > step.goes+0.02 {
			t.Errorf("%v used: the runtime may use %v of all, want %v", step.use, got, step.goes)
		}
	}
	delete(files, "sys/fs/cgroup/memory.current")
	b.look() // it goes by its own
	if b.Full() {
		t.Error("full, though nothing is known of that")
	}
}

func TestSettings(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	none := tree(nil)
	if b, err := newBudget(none, 0, quiet, prometheus.NewRegistry()); b != nil || err != nil {
		t.Errorf("no limit anywhere: got %v, %v", b, err)
	}
	if b, err := newBudget(none, -1, quiet, prometheus.NewRegistry()); b != nil || err != nil || b.Full() {
		t.Errorf("switched off: got %v, %v", b, err)
	}
	t.Setenv("GOMEMLIMIT", "3GiB")
	b, err := newBudget(none, 1000, quiet, prometheus.NewRegistry())
	if err != nil || !b.Full() {
		t.Errorf("1,000 bytes for a Go program: got %v, and full is %v", err, b.Full())
	}
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("the runtime's limit went from %d to %d, though GOMEMLIMIT was set", before, got)
	}
}

func FuzzFindGroup(f *testing.F) {
	f.Add("0::/\n", "max\n", "inactive_file 1\n")
	f.Add("5:memory:/a/../b\n", "123\n", "total_inactive_file x\n")
	f.Fuzz(func(t *testing.T, list, limit, stat string) {
		files := tree(map[string]string{"proc/self/cgroup": list})
		for _, dir := range []string{"sys/fs/cgroup/", "sys/fs/cgroup/memory/"} {
			for name, text := range map[string]string{"memory.max": limit, "memory.limit_in_bytes": limit, "memory.current": limit, "memory.usage_in_bytes": limit, "memory.stat": stat} {
				files[dir+name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		if g, n, err := findGroup(files); err == nil && n > 0 {
			if used, err := g.used(); err == nil && used > n {
				t.Errorf("%d of %d used, though both are read from the same text", used, n)
			}
		}
	})
}
