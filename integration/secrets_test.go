package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/ingest/natsd"
	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// secrets are what must not be seen anywhere, by what they are.
type secrets map[string]string

// wantNone looks for them in what came out of the product.
func (s secrets) wantNone(t *testing.T, where, text string) {
	t.Helper()
	for what, secret := range s {
		if at := strings.Index(text, secret); at >= 0 {
			line := text[strings.LastIndexByte(text[:at], '\n')+1:]
			line, _, _ = strings.Cut(line, "\n")
			t.Errorf("%s holds %s: %s", where, what, line)
		}
	}
}

// body is the secret part of a key file or of credentials: its lines, without the words around them.
func (s secrets) body(t *testing.T, what, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(b), "\n") {
		if len(line) > 20 && !strings.Contains(line, "-----") && !strings.Contains(line, " ") {
			s[fmt.Sprintf("%s, line %d", what, i+1)] = line
		}
	}
}

// TestSecretsAreNotTold: a gateway and a fanout with a secret in every setting that can have one, at the level of debug, through what works
// and what does not. Nothing of it is in the logs, the metrics, the answers, or what the commands print.
func TestSecretsAreNotTold(t *testing.T) {
	g, signer := withCredentials(t)
	ca := house.NewAuthority(t)
	cert, key := ca.Issue(t, "browsers", time.Now().Add(time.Hour))
	hidden := secrets{
		"the HMAC secret": "hmac-SECRET-0123456789abcdef0123456789abcdef0123456789abcdef0123456789", "the admin token": "admin-TOKEN-0123456789abcdef",
	}
	hidden.body(t, "the gateway's credentials", g.roles[natsd.RoleGateway].NATSCreds)
	hidden.body(t, "fanout's credentials", g.roles[natsd.RoleFanout].NATSCreds)
	hidden.body(t, "the TLS key", key)
	settings := house.Settings{"LOG_LEVEL": "debug", "AUTH_HMAC_SECRET": hidden["the HMAC secret"], "ADMIN_TOKEN": hidden["the admin token"], "PPROF": "true", "AUTH_QUERY": "true"}
	fan := programs.Start(t, "fanout", g.settings(natsd.RoleFanout).With(settings).With(house.Settings{"ROLES": "fanout"})).Ready()
	gate := programs.Start(t, "gateway", g.settings(natsd.RoleGateway).With(settings).With(house.Settings{
		"ROLES": "gateway", "TLS_CERT": cert, "TLS_KEY": key,
	})).Ready()

	// Tokens in every place that may have one: good, with a wrong signature, and no tokens at all.
	good := programs.Command(t, settings, "", "token", "--user", "alice")
	if good.Code() != 0 {
		t.Fatal(good.Stderr())
	}
	token := strings.TrimSpace(good.Stdout())
	wrong := token[:len(token)-8] + "AAAAAAAA"
	hidden["a good token"], hidden["a wrong token"] = token[strings.LastIndexByte(token, '.')+1:], "AAAAAAAA"
	hidden["a token's claims"], hidden["what is no token"] = strings.Split(token, ".")[1], "GARBAGE-token-7391"
	trust := clientTLS(ca)
	answers := ""
	for _, tk := range []string{token, wrong, "GARBAGE-token-7391"} {
		for _, c := range []struct {
			path string
			o    wsclient.Options
		}{
			{"/ws?token=" + tk, wsclient.Options{}},
			{"/ws", wsclient.Options{Header: http.Header{"Authorization": {"Bearer " + tk}}}},
			{"/ws", wsclient.Options{Header: http.Header{"Cookie": {"tidings_token=" + tk}}}},
			{"/ws", wsclient.Options{Protocols: []string{"tidings.v1", "bearer." + tk}}},
			{"/ws", wsclient.Options{Protocols: []string{"bearer." + tk}}},                           // refused: no dialect
			{"/websocket/bob?token=" + tk, wsclient.Options{}},                                       // another user's
			{"/ws?cursor=%zz&token=" + tk, wsclient.Options{}},                                       // refused: the query
			{"/ws?token=" + tk, wsclient.Options{Header: http.Header{"Origin": {"https://evil.a"}}}}, // refused: the origin
			{"/nothing/" + tk, wsclient.Options{}},
		} {
			c.o.TLS = trust
			answers += try(gate, c.path, c.o)
		}
	}
	tab, err := wsclient.Dial(t.Context(), "wss://"+gate.Address("browsers")+"/ws", wsclient.Options{TLS: trust})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Hangup()
	if err := tab.SendText(`{"type":"auth","token":"` + wrong + `"}`); err != nil {
		t.Fatal(err)
	}
	_, err = tab.Text(house.Patience)
	answers += fmt.Sprint(err)

	// The admin address, with and without its token.
	for _, header := range []string{"", "Bearer " + hidden["the admin token"], "Bearer wrong-" + hidden["the admin token"]} {
		for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/cmdline", "/nothing"} {
			answers += answerOf(t, "http://"+gate.Address("admin")+path, header)
		}
	}

	// Credentials that end, and credentials that are none.
	g.roles[natsd.RoleGateway] = natsd.Access{NATSCreds: signer.creds(t, natsd.RoleGateway, 0), NATSCA: g.roles[natsd.RoleGateway].NATSCA}
	hidden.body(t, "the new credentials", g.roles[natsd.RoleGateway].NATSCreds)
	g.node.Kill()
	house.Eventually(t, house.Patience, "the loss of NATS is told", func() error {
		if !strings.Contains(gate.Stderr(), "NATS connection lost") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	write(t, g.roles[natsd.RoleGateway].NATSCreds, "what-is-NO-creds-file-4711")
	hidden["broken credentials"] = "what-is-NO-creds-file-4711"
	g.node.Start(t)
	g.node.Ready(t)
	house.Eventually(t, house.Patience, "the broken credentials are told", func() error {
		if !strings.Contains(gate.Stderr(), "cannot connect to NATS") {
			return fmt.Errorf("not yet")
		}
		return nil
	})

	// Settings that are wrong.
	dir := t.TempDir()
	for i, s := range []house.Settings{
		{"NATS_URL": "nats://user:url-PASSWORD-1@127.0.0.1:1"},
		{"NATS_URL": "nats://url-TOKEN-2@127.0.0.1:1"},
		{"NATS_URL": "nats://user:url-PASSWORD-3%zz@127.0.0.1:1"},
		{"NATS_URL": "nats://user:url-PASSWORD-4@127.0.0.1:1", "NATS_CREDS": filepath.Join(dir, "none")},
	} {
		secret := fmt.Sprintf("the URL's secret %d", i+1)
		hidden[secret] = []string{"url-PASSWORD-1", "url-TOKEN-2", "url-PASSWORD-3", "url-PASSWORD-4"}[i]
		c := programs.Command(t, s, "", "publish", "events.a.b.c", "{}")
		answers += c.Stdout() + c.Stderr()
		if c.Code() == 0 {
			t.Errorf("publish with %v: exit code 0", s)
		}
	}
	running := programs.Start(t, "with a password", house.Settings{"ROLES": "gateway", "NATS_URL": "nats://user:url-PASSWORD-1@127.0.0.1:1", "LOG_LEVEL": "debug"})
	house.Eventually(t, house.Patience, "it says that NATS is not there", func() error {
		if !strings.Contains(running.Stderr(), "connection refused") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	for _, s := range []house.Settings{
		{"AUTH_HMAC_SECRET": "short-HMAC-5"}, {"AUTH_HMAC_SECRET": "base64:short-HMAC-5"}, {"ADMIN_TOKEN": "short-HMAC-5"}, {"ADMIN_TOKEN": "short-HMAC-5 and white space "},
	} {
		hidden["a bad secret"] = "short-HMAC-5"
		c := programs.Start(t, "bad secret", s)
		if c.Exit(house.Patience) == 0 {
			t.Errorf("%v: exit code 0", s)
		}
		answers += c.Stderr()
	}
	config := programs.Command(t, settings.With(g.settings(natsd.RoleGateway)), "", "config")

	if code := gate.Terminate(house.Patience); code != 0 {
		t.Errorf("the gateway left with %d", code)
	}
	hidden.wantNone(t, "the gateway's output", gate.Stderr()+gate.Stdout())
	hidden.wantNone(t, "fanout's output", fan.Stderr()+fan.Stdout())
	hidden.wantNone(t, "a password's process", running.Stderr())
	hidden.wantNone(t, "an answer", answers)
	hidden.wantNone(t, "tidings config", config.Stdout()+config.Stderr())
	if !strings.Contains(answers, "tidings_sessions") || len(answers) < 10_000 {
		t.Errorf("got %d bytes of answers, want all of them", len(answers))
	}
}

// try connects, takes what the server says first, and returns all that it said.
func try(d *house.Tidings, path string, o wsclient.Options) string {
	ctx, cancel := context.WithTimeout(context.Background(), house.Patience)
	defer cancel()
	tab, err := wsclient.Dial(ctx, "wss://"+d.Address("browsers")+path, o)
	if err != nil {
		var said string
		_, said, _ = strings.Cut(err.Error(), ": ") // the URL is ours
		return said + "\n"
	}
	defer tab.Hangup()
	text, err := tab.Text(house.Patience)
	return fmt.Sprintln(string(text), err)
}

// answerOf is an HTTP request, and the whole answer.
func answerOf(t *testing.T, url, authorization string) string {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return fetch(t, r)
}
