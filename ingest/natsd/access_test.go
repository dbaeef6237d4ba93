package natsd

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

	"tidings/integration/house"
)

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newSeed is a user's nkey: its public half, and a file with its seed.
func newSeed(t *testing.T) (public, path, seed string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ = pair.PublicKey()
	b, _ := pair.Seed()
	return public, file(t, "user.nk", string(b)+"\n"), string(b)
}

// TestAccessSaysWhatIsWrong: in one sentence that names the setting, and never with what is secret.
func TestAccessSaysWhatIsWrong(t *testing.T) {
	ca := house.NewAuthority(t)
	cert, key := ca.Issue(t, "a", time.Now().Add(time.Hour))
	other, _ := ca.Issue(t, "b", time.Now().Add(time.Hour))
	_, nk, seed := newSeed(t)
	account, _ := nkeys.CreateAccount()
	secret, _ := account.Seed()
	const url = "nats://127.0.0.1:4222"
	half := file(t, "half.creds", "-----BEGIN NATS USER JWT-----\naaa.bbb.ccc\n------END NATS USER JWT------\n")
	for _, c := range []struct {
		name   string
		urls   string
		access Access
		want   string
	}{
		{"nothing", url, Access{}, ""},
		{"all that goes together", "tls://127.0.0.1:4222", Access{NATSNkey: nk, NATSCA: ca.File, NATSCert: cert, NATSKey: key}, ""},
		{"a user in the URL", "nats://user:password@127.0.0.1:4222", Access{NATSCA: ca.File}, ""},
		{"NATS within the process", "", Access{NATSCA: ca.File}, "set TIDINGS_NATS_URL"},
		{"two users", url, Access{NATSCreds: half, NATSNkey: nk}, "both set"},
		{"a user in the URL too", "nats://user:password@127.0.0.1:4222", Access{NATSNkey: nk}, "TIDINGS_NATS_URL names a user"},
		{"a token in the URL too", "nats://a:4222,nats://token@b:4222", Access{NATSCreds: half}, "TIDINGS_NATS_URL names a user"},
		{"creds not there", url, Access{NATSCreds: half + "x"}, "TIDINGS_NATS_CREDS: there is no file"},
		{"creds without a JWT", url, Access{NATSCreds: nk}, "holds no user's JWT"},
		{"creds without a seed", url, Access{NATSCreds: half}, "holds no user's seed"},
		{"nkey not there", url, Access{NATSNkey: nk + "x"}, "TIDINGS_NATS_NKEY: there is no file"},
		{"nkey of an account", url, Access{NATSNkey: file(t, "account.nk", string(secret))}, "holds no user's seed"},
		{"a directory", url, Access{NATSNkey: t.TempDir()}, "TIDINGS_NATS_NKEY"},
		{"a certificate without a key", url, Access{NATSCert: cert}, "belong together"},
		{"a key without a certificate", url, Access{NATSKey: key}, "belong together"},
		{"two halves", url, Access{NATSCert: other, NATSKey: key}, "are no pair"},
		{"an authority that is none", url, Access{NATSCA: key}, "holds no certificate"},
		{"an authority not there", url, Access{NATSCA: key + "x"}, "TIDINGS_NATS_CA: there is no file"},
	} {
		err := c.access.Validate(c.urls)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: got %v, want nothing wrong", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: got %v, want one line with %q", c.name, err, c.want)
		case err != nil && (strings.Contains(err.Error(), seed) || strings.Contains(err.Error(), string(secret)) || strings.Contains(err.Error(), "password")):
			t.Errorf("%s: the error holds a secret: %v", c.name, err)
		}
	}
}

// serveWith runs a server outside with these options.
func serveWith(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.NoSigs, opts.NoLog = "127.0.0.1", true, true
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func withTLS(t *testing.T, ca *house.Authority, verify bool, opts *server.Options) *server.Options {
	t.Helper()
	cert, key := ca.Issue(t, "server", time.Now().Add(time.Hour))
	tc := &server.TLSConfigOpts{CertFile: cert, KeyFile: key, CaFile: ca.File, Verify: verify}
	var err error
	if opts.TLSConfig, err = server.GenTLSConfig(tc); err != nil {
		t.Fatal(err)
	}
	opts.TLS, opts.TLSVerify = true, verify
	return opts
}

// TestRefusedConnections: what a server does not like about us is said with what to do.
func TestRefusedConnections(t *testing.T) {
	ca, foreign := house.NewAuthority(t), house.NewAuthority(t)
	public, nk, _ := newSeed(t)
	_, stranger, _ := newSeed(t)
	cert, key := foreign.Issue(t, "foreign", time.Now().Add(time.Hour))
	users := func() *server.Options { return &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}} }
	open := serveWith(t, &server.Options{})
	known := serveWith(t, users())
	secured := serveWith(t, withTLS(t, ca, false, users()))
	mutual := serveWith(t, withTLS(t, ca, true, users()))
	for _, c := range []struct {
		name   string
		server *server.Server
		scheme string
		access Access
		want   string
	}{
		{"another user", known, "nats://", Access{NATSNkey: stranger}, "the server does not know this user"},
		{"nobody", known, "nats://", Access{}, "the server does not know this user"},
		{"no users with nkeys", open, "nats://", Access{NATSNkey: nk}, "TIDINGS_NATS_NKEY"},
		{"TLS wanted, none offered", open, "nats://", Access{NATSCA: ca.File}, "the server offers no TLS"},
		{"TLS in the URL, none offered", open, "tls://", Access{}, "the server offers no TLS"},
		{"an authority nobody knows", secured, "nats://", Access{NATSNkey: nk}, "TIDINGS_NATS_CA"},
		{"another authority", secured, "nats://", Access{NATSNkey: nk, NATSCA: foreign.File}, "TIDINGS_NATS_CA"},
		{"no certificate", mutual, "nats://", Access{NATSNkey: nk, NATSCA: ca.File}, "TIDINGS_NATS_CERT"},
		{"a certificate of another authority", mutual, "nats://", Access{NATSNkey: nk, NATSCA: ca.File, NATSCert: cert, NATSKey: key}, "TIDINGS_NATS_CERT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc, err := c.access.DialOnce(c.scheme+c.server.Addr().String(), "test", RolePublisher)
			if err == nil {
				nc.Close()
				t.Fatal("it connected")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

// TestRenewedCertificates: authority and certificate of a running program are replaced under it, and the next connection has the new ones.
func TestRenewedCertificates(t *testing.T) {
	public, nk, _ := newSeed(t)
	ca, next := house.NewAuthority(t), house.NewAuthority(t)
	cert, key := ca.Issue(t, "client", time.Now().Add(time.Hour))
	users := func() *server.Options { return &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}} }
	first := serveWith(t, withTLS(t, ca, true, users()))
	address, port := first.Addr().String(), first.Addr().(*net.TCPAddr).Port

	var lines bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(&lockedWriter{&mu, &lines}, nil))
	nc, err := Access{NATSNkey: nk, NATSCA: ca.File, NATSCert: cert, NATSKey: key}.Dial("nats://"+address, "test", RoleGateway, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if !nc.IsConnected() {
		t.Fatal("not connected")
	}
	if inbox := nc.NewInbox(); !strings.HasPrefix(inbox, "_INBOX_gateway.") {
		t.Errorf("got inbox %s, want the role's", inbox)
	}
	first.Shutdown()
	first.WaitForShutdown()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(&lines)
		}
	})
	opts := withTLS(t, next, true, users())
	opts.Port = port
	serveWith(t, opts)
	waitFor(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(lines.String(), "TIDINGS_NATS_CA")
	})
	newCert, newKey := next.Issue(t, "client", time.Now().Add(time.Hour))
	for from, to := range map[string]string{next.File: ca.File, newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, nc.IsConnected)
}

// TestDenialsAreToldOnce: a refused publish counts for a while, a refused subscription until the connection is made anew, and each is one line.
func TestDenialsAreToldOnce(t *testing.T) {
	public, nk, _ := newSeed(t)
	s := serveWith(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"allowed"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_gateway.>"}},
	}}}})
	var lines bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(&lockedWriter{&mu, &lines}, nil))
	d := NewDenials(log, prometheus.NewRegistry())
	nc, err := Access{NATSNkey: nk}.Dial("nats://"+s.Addr().String(), "test", RoleGateway, log, d)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	count := func(text string) int {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(lines.String(), text)
	}

	nc.Publish("$JS.API.CONSUMER.DELETE.LOG_0.abc", nil) // only tidies up
	waitFor(t, func() bool { return count("does not allow") == 1 })
	if err := d.Ready(); err != nil {
		t.Errorf("got %v, want ready: work goes on without it", err)
	}
	for _, consumer := range []string{"abc", "def", "ghi"} {
		nc.Publish("$JS.API.CONSUMER.CREATE.LOG_0."+consumer+".log.0.m", nil)
	}
	waitFor(t, func() bool { return d.Ready() != nil })
	if err := d.Ready().Error(); !strings.Contains(err, "$JS.API.CONSUMER.CREATE.LOG_0.>") || !strings.Contains(err, "accounts.conf") {
		t.Errorf("got %q, want the subject and what to do", err)
	}
	d.mu.Lock()
	for one := range d.known {
		d.known[one] = time.Now().Add(-2 * denialHolds)
	}
	d.mu.Unlock()
	if err := d.Ready(); err != nil {
		t.Errorf("got %v, want ready: it is long past", err)
	}

	if _, err := nc.SubscribeSync("control.>"); err != nil { // an operator's affair: sessions go on
		t.Fatal(err)
	}
	sub, err := nc.SubscribeSync("events.>")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return d.Ready() != nil })
	d.mu.Lock()
	for one := range d.known {
		d.known[one] = time.Now().Add(-2 * denialHolds)
	}
	d.mu.Unlock()
	if d.Ready() == nil {
		t.Error("got ready, want the subscription to count until it is made anew")
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return d.Ready() == nil })
	if n := count("does not allow"); n != 4 {
		t.Errorf("got %d lines, want 4:\n%s", n, &lines)
	}
}

func TestRedactHidesTokensToo(t *testing.T) {
	for url, want := range map[string]string{
		"nats://user:secret@a:4222": "nats://user:xxxxx@a:4222",
		"nats://secret@a:4222":      "nats://xxxxx@a:4222",
		"secret@a:4222,b":           "nats://xxxxx@a:4222,nats://b",
		"nats://a:4222":             "nats://a:4222",
	} {
		if got, err := Redact(url); err != nil || got != want {
			t.Errorf("Redact(%q): got %q, %v, want %q", url, got, err, want)
		}
	}
}
