package house

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience bounds what a process should do at once: under the race detector, on two busy cores.
const Patience = 60 * time.Second

// Settings are environment variables, without the prefix TIDINGS_.
type Settings map[string]string

// With is s with more settings over it.
func (s Settings) With(more Settings) Settings {
	all := Settings{}
	for _, m := range []Settings{s, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// Tidings is a running tidings.
type Tidings struct {
	*Process

	mu        sync.Mutex // guards the following
	addresses map[string]string
	known     chan struct{} // closed and made anew with each address
}

// Start runs tidings with these settings, free ports, a store of the test's own, and JSON logs where they say nothing else.
func (p *Programs) Start(t testing.TB, name string, s Settings) *Tidings {
	t.Helper()
	all := Settings{"LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "127.0.0.1:0", "NATS_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}
	if s["NATS_URL"] == "" && s["NATS_STORE"] == "" {
		all["NATS_STORE"] = t.TempDir()
	}
	d := &Tidings{addresses: map[string]string{}, known: make(chan struct{})}
	d.Process = run(t, name, p.command(all.With(s)), d.line)
	return d
}

// Command runs a subcommand of tidings with only these settings, and standard input, to its end.
func (p *Programs) Command(t testing.TB, s Settings, stdin string, args ...string) *Process {
	t.Helper()
	cmd := p.command(s, args...)
	cmd.Stdin = strings.NewReader(stdin)
	c := run(t, "tidings "+strings.Join(args, " "), cmd, nil)
	c.Exit(Patience)
	return c
}

func (p *Programs) command(s Settings, args ...string) *exec.Cmd {
	line := append(append(slices.Clone(p.within), p.Tidings), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = p.dir
	cmd.Env = environment()
	for k, v := range s {
		cmd.Env = append(cmd.Env, "TIDINGS_"+k+"="+v)
	}
	return cmd
}

// line looks for {"msg":"listening","what":…,"address":…}.
func (d *Tidings) line(text string) {
	var l struct{ Msg, What, Address string }
	if !strings.Contains(text, `"listening"`) || json.Unmarshal([]byte(text), &l) != nil || l.Msg != "listening" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses[l.What] = l.Address
	close(d.known)
	d.known = make(chan struct{})
}

// Address waits for the address that the process listens on for "browsers", "admin" or "nats".
func (d *Tidings) Address(what string) string {
	d.t.Helper()
	timeout := time.After(Patience)
	for {
		d.mu.Lock()
		address, known := d.addresses[what], d.known
		d.mu.Unlock()
		if address != "" {
			return address
		}
		select {
		case <-known:
		case <-d.ended:
			d.t.Fatalf("%s ended (%v) before it listened for %s: %s", d.Name, d.cmd.ProcessState, what, d.Stderr())
		case <-timeout:
			d.t.Fatalf("%s does not listen for %s after %v", d.Name, what, Patience)
		}
	}
}

// NATS is the URL of the server within the process.
func (d *Tidings) NATS() string { return "nats://" + d.Address("nats") }

// Ready waits until /readyz says so.
func (d *Tidings) Ready() *Tidings {
	d.t.Helper()
	d.Address("admin")
	Eventually(d.t, Patience, d.Name+" is ready", func() error {
		if d.Ended() {
			return fmt.Errorf("it ended: %v", d.cmd.ProcessState)
		}
		return d.IsReady()
	})
	return d
}

// IsReady is what /readyz says now; nil for ready.
func (d *Tidings) IsReady() error {
	status, body, err := d.Get("/readyz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, body)
	}
	return err
}

// Get asks the admin address.
func (d *Tidings) Get(path string) (status int, body string, err error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + d.Address("admin") + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, strings.TrimSpace(string(b)), err
}

// Metric is the sum of a metric over its lines that have all the given label values.
func (d *Tidings) Metric(name string, labels ...string) float64 {
	d.t.Helper()
	_, body, err := d.Get("/metrics")
	if err != nil {
		d.t.Fatalf("metrics of %s: %v", d.Name, err)
	}
	sum := 0.0
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if v, ok := metricLine(lines.Text(), name, labels); ok {
			sum += v
		}
	}
	return sum
}

func metricLine(line, name string, labels []string) (float64, bool) {
	rest, ok := strings.CutPrefix(line, name)
	if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
		return 0, false
	}
	for _, l := range labels {
		if !strings.Contains(rest, `="`+l+`"`) {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
	return v, err == nil
}
