package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/integration/house"
)

// soon is more than a process takes to find that it cannot start.
const soon = 20 * time.Second

// TestEveryMistakeAtOnce: who has made several mistakes learns of all of them, a line each, and nothing has been started.
func TestEveryMistakeAtOnce(t *testing.T) {
	rules := rulesFile(t, `rules:
  - name: one
    subject: orders.>
    users: event.data.(
  - name: one
    subject: events.a
    when: 1 + 1
    users: event.data.id
    colour: red
  - name: three
    subject: events.b
`)
	for _, c := range []struct {
		name     string
		settings house.Settings
		want     []string // one for each line, in order
	}{
		{"settings", house.Settings{"ROLES": "fanout,cook", "LOG_LEVEL": "loud", "SHARDS": "99", "HEARTBEAT": "5h", "LISTEN": "8080"}, []string{
			`TIDINGS_ROLES has "cook"`, `TIDINGS_LOG_LEVEL is "loud"`, "TIDINGS_SHARDS is 99", `TIDINGS_LISTEN is "8080"`, "TIDINGS_HEARTBEAT is 5h"}},
		{"rules", house.Settings{"RULES": rules}, []string{
			rules + ":3:", rules + ":4:", rules + ":9:", rules + ":5:", rules + ":7:", rules + ":10:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := programs.Start(t, "tidings", c.settings)
			if code := d.Exit(soon); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			said := d.Stderr()
			lines := strings.Split(strings.TrimPrefix(strings.TrimSpace(said), "tidings: "), "\n")
			if !strings.HasPrefix(said, "tidings: ") || len(lines) != len(c.want) {
				t.Errorf("got:\n%s\nwant tidings: and %d lines", said, len(c.want))
			}
			for _, want := range c.want {
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
					t.Errorf("got:\n%s\nwant a line that begins with %s", said, want)
				}
			}
		})
	}
}

// TestOtherShards: the log has its number of shards for good. It is found out late, when everything runs; then all of it ends.
func TestOtherShards(t *testing.T) {
	store := t.TempDir()
	d := programs.Start(t, "four shards", house.Settings{"NATS_STORE": store, "SHARDS": "4"}).Ready()
	if code := d.Terminate(house.Patience); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	d = programs.Start(t, "one shard", house.Settings{"NATS_STORE": store})
	if code := d.Exit(soon); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	lines := strings.Split(strings.TrimSpace(d.Stderr()), "\n")
	last := lines[len(lines)-1]
	for _, want := range []string{"tidings: ", "TIDINGS_SHARDS", "4"} {
		if !strings.Contains(last, want) {
			t.Errorf("got at last %q, want it to say %q", last, want)
		}
	}
	d = programs.Start(t, "four shards again", house.Settings{"NATS_STORE": store, "SHARDS": "4"}).Ready()
	js := house.Connect(t, d.NATS())
	alice := open(t, d, "alice", "")
	tell(t, js, "e-1", "alice")
	alice.expect("e-1") // nothing was spoiled
}

// TestCommandLines: what is typed wrongly.
func TestCommandLines(t *testing.T) {
	secret := house.Settings{"AUTH_HMAC_SECRET": "0123456789abcdef0123456789abcdef"}
	for name, c := range map[string]struct {
		settings house.Settings
		args     []string
		want     string // in the last line that begins with "tidings: "
	}{
		"a flag that is not there":   {secret, []string{"token", "--usr", "alice"}, "-usr"},
		"a flag without its value":   {secret, []string{"token", "--user"}, "-user"},
		"a duration that is none":    {secret, []string{"token", "--user", "alice", "--ttl", "long"}, "long"},
		"too much":                   {secret, []string{"token", "alice"}, "--user"},
		"a user ID that is too long": {secret, []string{"token", "--user", strings.Repeat("x", 129)}, "128"},
		"a secret that is too short": {house.Settings{"AUTH_HMAC_SECRET": "short"}, []string{"token", "--user", "alice"}, "32"},
		"a wildcard":                 {nil, []string{"publish", "events.*.shipped", "{}"}, "wildcard"},
		"white space":                {nil, []string{"publish", "events.a b", "{}"}, "white space"},
		"an end without a name":      {nil, []string{"publish", "events.", "{}"}, "events."},
		"more than an event":         {nil, []string{"publish", "events.a", "{}", "{}"}, "tidings publish"},
		"nobody at a NATS URL with a password": {house.Settings{"NATS_URL": "nats://u:hunter2@127.0.0.1:1"}, []string{"publish", "events.a", "{}"},
			"is tidings running?"},
		"no NATS URL at all": {house.Settings{"NATS_URL": "nats://"}, []string{"publish", "events.a", "{}"}, "want nats://host:4222"},
	} {
		t.Run(name, func(t *testing.T) {
			p := programs.Command(t, c.settings, "", c.args...)
			if code := p.Code(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			said := p.Stderr()
			i := strings.LastIndex(said, "tidings: ")
			if strings.Contains(said, "hunter2") {
				t.Errorf("got %q, which holds a password", said)
			}
			if i < 0 || !strings.Contains(said[i:], c.want) || strings.Contains(said, "goroutine ") || p.Stdout() != "" {
				t.Errorf("got %q and on standard output %q, want a sentence that says %q", said, p.Stdout(), c.want)
			}
		})
	}
}
