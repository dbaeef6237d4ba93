package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/conf"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"tidings/ingest/natsd"
	"tidings/integration/house"
)

// guarded is a NATS that lets nobody in without a key and TLS, with the permissions that we ship.
type guarded struct {
	t     *testing.T
	node  *house.Node
	roles map[natsd.Role]natsd.Access
}

var roles = []natsd.Role{natsd.RolePublisher, natsd.RoleFanout, natsd.RoleGateway, natsd.RoleOperator}

// accounts is the text of the file that we ship.
func accounts(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../k8s/base/nats/accounts.conf")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// withNkeys has a user with an nkey for each role, and asks everybody for a certificate.
func withNkeys(t *testing.T) *guarded {
	t.Helper()
	ca, dir := house.NewAuthority(t), t.TempDir()
	cert, key := ca.Issue(t, "server", time.Now().Add(time.Hour))
	g := &guarded{t: t, roles: map[natsd.Role]natsd.Access{}}
	var env []string
	for _, role := range roles {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, _ := pair.PublicKey()
		seed, _ := pair.Seed()
		a := natsd.Access{NATSNkey: filepath.Join(dir, string(role)+".nk"), NATSCA: ca.File}
		a.NATSCert, a.NATSKey = ca.Issue(t, string(role), time.Now().Add(time.Hour))
		write(t, a.NATSNkey, string(seed)+"\n")
		g.roles[role] = a
		env = append(env, "TIDINGS_NKEY_"+strings.ToUpper(string(role))+"="+public)
	}
	tls := fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", cert, key, ca.File)
	g.start(tls+accounts(t), env)
	return g
}

// signer makes users of an account in operator mode.
type signer struct {
	account nkeys.KeyPair
	lists   map[natsd.Role]jwt.Permissions
	dir     string
}

// withCredentials is the same in operator mode: each role's user is a JWT with the lists of the file that we ship.
func withCredentials(t *testing.T) (*guarded, *signer) {
	t.Helper()
	ca := house.NewAuthority(t)
	cert, key := ca.Issue(t, "server", time.Now().Add(time.Hour))
	operator, account, system := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount)
	op := jwt.NewOperatorClaims(public(operator))
	op.SystemAccount = public(system)
	claims := jwt.NewAccountClaims(public(account))
	claims.Name = "TIDINGS"
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1}
	sys := jwt.NewAccountClaims(public(system))
	sys.Name = "SYS"
	more := fmt.Sprintf("tls { cert_file: %q, key_file: %q }\noperator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		cert, key, sign(t, op, operator), public(system), public(account), sign(t, claims, operator), public(system), sign(t, sys, operator))

	s := &signer{account: account, lists: permissions(t), dir: t.TempDir()}
	g := &guarded{t: t, roles: map[natsd.Role]natsd.Access{}}
	for _, role := range roles {
		g.roles[role] = natsd.Access{NATSCreds: s.creds(t, role, 0), NATSCA: ca.File}
	}
	g.start(more, nil)
	return g, s
}

// creds writes the credentials of a role, good for so long (0: for ever).
func (s *signer) creds(t *testing.T, role natsd.Role, life time.Duration) string {
	t.Helper()
	user := pair(t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(public(user))
	claims.Name = string(role)
	claims.Permissions = s.lists[role]
	if life > 0 {
		claims.Expires = time.Now().Add(life).Unix()
	}
	seed, _ := user.Seed()
	text, err := jwt.FormatUserConfig(sign(t, claims, s.account), seed)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, string(role)+".creds")
	write(t, path, string(text))
	return path
}

// permissions reads the lists of the file that we ship.
func permissions(t *testing.T) map[natsd.Role]jwt.Permissions {
	t.Helper()
	text := accounts(t)
	for _, role := range roles {
		text = strings.Replace(text, "$TIDINGS_NKEY_"+strings.ToUpper(string(role)), string(role), 1)
	}
	tree, err := conf.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	lists := map[natsd.Role]jwt.Permissions{}
	for _, u := range tree["accounts"].(object)["TIDINGS"].(object)["users"].([]any) {
		user := u.(object)
		var p jwt.Permissions
		for _, allowed := range user["permissions"].(object)["publish"].(object)["allow"].([]any) {
			p.Pub.Allow.Add(allowed.(string))
		}
		for _, allowed := range user["permissions"].(object)["subscribe"].(object)["allow"].([]any) {
			p.Sub.Allow.Add(allowed.(string))
		}
		lists[natsd.Role(user["nkey"].(string))] = p
	}
	if len(lists) != len(roles) {
		t.Fatalf("got %d users, want %d", len(lists), len(roles))
	}
	return lists
}

func (g *guarded) start(more string, env []string) {
	g.t.Helper()
	opts, err := g.roles[natsd.RoleOperator].Options(natsd.RoleOperator)
	if err != nil {
		g.t.Fatal(err)
	}
	g.node = programs.Server(g.t, more, env, opts...)
}

// settings are what a process of the role finds NATS with.
func (g *guarded) settings(role natsd.Role) house.Settings {
	a, s := g.roles[role], house.Settings{"NATS_URL": g.node.URL}
	for name, value := range map[string]string{
		"NATS_CREDS": a.NATSCreds, "NATS_NKEY": a.NATSNkey, "NATS_CA": a.NATSCA, "NATS_CERT": a.NATSCert, "NATS_KEY": a.NATSKey,
	} {
		if value != "" {
			s[name] = value
		}
	}
	return s
}

// as is a connection of the role.
func (g *guarded) as(role natsd.Role, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	g.t.Helper()
	own, err := g.roles[role].Options(role)
	if err != nil {
		g.t.Fatal(err)
	}
	nc, err := nats.Connect(g.node.URL, append(own, opts...)...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		g.t.Fatal(err)
	}
	return nc, js
}

// wantNoViolation: the server says of everything that it refused.
func (g *guarded) wantNoViolation() {
	g.t.Helper()
	for line := range strings.SplitSeq(g.node.Stderr(), "\n") {
		if strings.Contains(line, "Violation") || strings.Contains(line, "authorization") {
			g.t.Errorf("NATS refused something: %s", line)
		}
	}
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	kp, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return kp
}

func public(kp nkeys.KeyPair) string {
	p, _ := kp.PublicKey() // it was just made
	return p
}

func sign(t *testing.T, claims jwt.Claims, kp nkeys.KeyPair) string {
	t.Helper()
	text, err := claims.Encode(kp)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// write puts a file in the place of another in one step, as Kubernetes does.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
