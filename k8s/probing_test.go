package k8s

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tidings/integration/house"
)

// probe waits until the pod's probes are answered as the kubelet wants them.
func (c *container) probe() *container {
	c.t.Helper()
	spec := c.of.container()
	for _, p := range []*corev1.Probe{spec.StartupProbe, spec.LivenessProbe, spec.ReadinessProbe} {
		house.Eventually(c.t, house.Patience, c.of.String()+" answers "+p.HTTPGet.Path, func() error {
			c.mustRun()
			return get("http://" + c.address(p.HTTPGet.Port.StrVal) + p.HTTPGet.Path)
		})
	}
	return c
}

// stop is what the kubelet does behind preStop.
func (c *container) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-c.ended:
	case <-time.After(time.Duration(*c.of.spec().TerminationGracePeriodSeconds) * time.Second):
		c.t.Fatalf("%s has not ended within its grace period", c.of)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("%s: exit code %d", c.of, code)
	}
}

// metrics are the names in a scrape of the container.
func (c *container) metrics() []string {
	c.t.Helper()
	body, err := fetch("http://" + c.address("admin") + "/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	slices.Sort(names)
	return names
}

func get(address string) error {
	_, err := fetch(address)
	return err
}

func fetch(address string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(address)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return string(b), err
}
