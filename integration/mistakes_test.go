package integration

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidings/integration/house"
)

// TestMistakes: what is wrong with the settings, or with the machine, is one sentence on standard error, and the exit code is not 0.
func TestMistakes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // the cases run when this function has returned
	port := taken.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	programs.Start(t, "the other", house.Settings{"NATS_STORE": other}).Ready()
	badRules := rulesFile(t, "rules:\n  - name: one\n    subject: events.>\n    users: event.data.(\n")
	for _, c := range []struct {
		name     string
		settings house.Settings
		want     []string // what the sentence says
	}{
		{"port for browsers taken", house.Settings{"LISTEN": port}, []string{port, "TIDINGS_LISTEN", "in use"}},
		{"admin port taken", house.Settings{"ADMIN_LISTEN": port}, []string{port, "TIDINGS_ADMIN_LISTEN", "in use"}},
		{"NATS port taken", house.Settings{"NATS_LISTEN": port}, []string{port, "TIDINGS_NATS_LISTEN", "taken"}},
		{"store below a file", house.Settings{"NATS_STORE": filepath.Join(file, "x")}, []string{file, "TIDINGS_NATS_STORE"}},
		{"store on a file", house.Settings{"NATS_STORE": file}, []string{file, "not a directory"}},
		{"store read-only", house.Settings{"NATS_STORE": "/proc/tidings"}, []string{"/proc/tidings", "TIDINGS_NATS_STORE"}},
		{"store of another", house.Settings{"NATS_STORE": other}, []string{other, "in use by another process"}},
		{"no duration", house.Settings{"HEARTBEAT": "abc"}, []string{"TIDINGS_HEARTBEAT", "abc", "25s"}},
		{"no number", house.Settings{"QUEUE": "many"}, []string{"TIDINGS_QUEUE", "many", "number"}},
		{"out of range", house.Settings{"SHARDS": "0"}, []string{"TIDINGS_SHARDS", "1 to 64"}},
		{"unknown role", house.Settings{"ROLES": "fanot"}, []string{"TIDINGS_ROLES", "fanot", "fanout, gateway"}},
		{"one role without NATS", house.Settings{"ROLES": "gateway"}, []string{"TIDINGS_NATS_URL"}},
		{"NATS URL", house.Settings{"NATS_URL": "nats://"}, []string{"NATS URL"}},
		{"rules with a mistake", house.Settings{"RULES": badRules}, []string{badRules + ":4:", "users"}},
		{"rules not there", house.Settings{"RULES": file + "x"}, []string{file + "x", "no such file"}},
		{"development mode for others", house.Settings{"LISTEN": "0.0.0.0:0"}, []string{"0.0.0.0:0", "TIDINGS_AUTH_HMAC_SECRET"}},
		{"credentials not there", house.Settings{"NATS_URL": "nats://127.0.0.1:1", "NATS_CREDS": file + "x"}, []string{"TIDINGS_NATS_CREDS", file + "x", "mounted"}},
		{"credentials for the NATS within", house.Settings{"NATS_NKEY": file}, []string{"TIDINGS_NATS_URL"}},
		{"half a certificate", house.Settings{"TLS_CERT": file}, []string{"TIDINGS_TLS_KEY", "belong together"}},
		{"a certificate that is none", house.Settings{"TLS_CERT": file, "TLS_KEY": file}, []string{"TIDINGS_TLS_CERT", "are no pair"}},
		{"profiles for everybody", house.Settings{"ADMIN_LISTEN": "0.0.0.0:0", "PPROF": "true"}, []string{"TIDINGS_PPROF", "TIDINGS_ADMIN_TOKEN"}},
		{"pprof neither true nor false", house.Settings{"PPROF": "maybe"}, []string{"TIDINGS_PPROF", "maybe", "true or false"}},
		{"short secret", house.Settings{"AUTH_HMAC_SECRET": "short"}, []string{"TIDINGS_AUTH_HMAC_SECRET", "32 or more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := programs.Start(t, "tidings", house.Settings{"LOG_FORMAT": "text"}.With(c.settings))
			wantSentence(t, d.Process, c.want...)
		})
	}
}

// wantSentence waits for a process to end with an exit code that is not 0, and exactly one line on standard error.
func wantSentence(t *testing.T, p *house.Process, words ...string) {
	t.Helper()
	if code := p.Exit(house.Patience); code <= 0 {
		t.Errorf("exit code %d, want one above 0", code)
	}
	got := p.Stderr()
	if !strings.HasPrefix(got, "tidings: ") || strings.Count(got, "\n") != 1 {
		t.Errorf("got on standard error:\n%s\nwant one line that begins with tidings:", got)
	}
	for _, w := range words {
		if !strings.Contains(got, w) {
			t.Errorf("got %q, want it to say %q", got, w)
		}
	}
	if p.Stdout() != "" {
		t.Errorf("got %q on standard output, want nothing", p.Stdout())
	}
}

// TestCommandMistakes: the same for the subcommands.
func TestCommandMistakes(t *testing.T) {
	secret := house.Settings{"AUTH_HMAC_SECRET": "0123456789abcdef0123456789abcdef"}
	nowhere := house.Settings{"NATS_URL": "nats://127.0.0.1:1"}
	for name, c := range map[string]struct {
		settings house.Settings
		args     []string
		want     []string
	}{
		"token without a secret": {nil, []string{"token", "--user", "alice"}, []string{"TIDINGS_AUTH_HMAC_SECRET"}},
		"token of nobody":        {secret, []string{"token"}, []string{"--user"}},
		"token for no time":      {secret, []string{"token", "--user", "alice", "--ttl", "0s"}, []string{"1s or more"}},
		"publish nothing":        {nil, []string{"publish"}, []string{"subject"}},
		"publish elsewhere":      {nil, []string{"publish", "orders.1.shipped", "{}"}, []string{"events."}},
		"publish without NATS":   {nowhere, []string{"publish", "events.orders.1.shipped", "{}"}, []string{"nats://127.0.0.1:1", "is tidings running?"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantSentence(t, programs.Command(t, c.settings, "", c.args...), c.want...)
		})
	}
}

// TestCommands: what people type.
func TestCommands(t *testing.T) {
	help := programs.Command(t, nil, "", "help")
	if code := help.Code(); code != 0 || !strings.Contains(help.Stdout(), "tidings publish SUBJECT") {
		t.Errorf("help: exit code %d, %s", code, help.Stdout())
	}
	unknown := programs.Command(t, nil, "", "pubish")
	if code := unknown.Code(); code <= 0 || !strings.Contains(unknown.Stderr(), `unknown command "pubish"`) || !strings.Contains(unknown.Stderr(), "tidings publish") {
		t.Errorf("an unknown command: exit code %d, %s", code, unknown.Stderr())
	}
	config := programs.Command(t, house.Settings{"HEARTBEAT": "abc"}, "", "config") // whoever looks up a setting may have it wrong
	if code := config.Code(); code != 0 {
		t.Errorf("config: exit code %d, %s", code, config.Stderr())
	}
	for _, line := range strings.Split(strings.TrimSpace(config.Stdout()), "\n")[1:] {
		if name, rest, _ := strings.Cut(line, " "); !strings.HasPrefix(name, "TIDINGS_") || len(strings.Fields(rest)) < 3 {
			t.Errorf("config: %q, want a variable, its default and its meaning", line)
		}
	}
	for _, name := range []string{"TIDINGS_ROLES", "TIDINGS_NATS_URL", "TIDINGS_NATS_STORE", "TIDINGS_LISTEN", "TIDINGS_RULES", "TIDINGS_SHARDS",
		"TIDINGS_AUTH_HMAC_SECRET", "TIDINGS_ORIGINS", "TIDINGS_HEARTBEAT", "TIDINGS_DUPLICATES", "TIDINGS_LOG_FORMAT"} {
		if !strings.Contains(config.Stdout(), "\n"+name+" ") {
			t.Errorf("config does not list %s", name)
		}
	}
}
