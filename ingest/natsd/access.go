package natsd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Access is what a NATS outside asks for before it lets us in: who we are, and by which certificates both sides know each other.
// Users and passwords stand in the URL. All of it is files, so that secrets can be renewed under a running program.
type Access struct {
	NATSCreds string `envconfig:"NATS_CREDS" desc:"NATS outside: file with the user's JWT and seed (.creds); read again at each connection"`
	NATSNkey  string `envconfig:"NATS_NKEY" desc:"NATS outside: file with the user's nkey seed"`
	NATSCA    string `envconfig:"NATS_CA" desc:"NATS outside: PEM file of the authorities for its certificate, read again at each connection; TLS only"`
	NATSCert  string `envconfig:"NATS_CERT" desc:"NATS outside: PEM file of our certificate, read again at each connection; TLS only"`
	NATSKey   string `envconfig:"NATS_KEY" desc:"NATS outside: PEM file of its key"`
}

// A role is who a connection speaks for. Its inbox is where answers come to; permissions keep the roles from reading each other's.
type Role string

// The roles, as the permissions in k8s/base/nats/accounts.conf name them.
const (
	RolePublisher Role = "publisher"
	RoleFanout    Role = "fanout"
	RoleGateway   Role = "gateway"
	RoleOperator  Role = "operator"
)

// InboxPrefix is what the role's inboxes begin with.
func (r Role) InboxPrefix() string { return "_INBOX_" + string(r) }

// Validate tells what is wrong with a beside the servers in urls, all of it. An empty list is the NATS within the process.
func (a Access) Validate(urls string) error {
	if urls == "" {
		if a != (Access{}) {
			return errors.New("TIDINGS_NATS_CREDS, _NKEY, _CA, _CERT and _KEY are for a NATS outside: set TIDINGS_NATS_URL, or leave them out")
		}
		return nil
	}
	return errors.Join(a.checkUser(urls), a.checkCertificates())
}

func (a Access) checkUser(urls string) error {
	if a.NATSCreds != "" && a.NATSNkey != "" {
		return errors.New("TIDINGS_NATS_CREDS and TIDINGS_NATS_NKEY are both set: a connection is one user's, leave one of them out")
	}
	if (a.NATSCreds != "" || a.NATSNkey != "") && namesUser(urls) {
		return errors.New("TIDINGS_NATS_URL names a user beside TIDINGS_NATS_CREDS or TIDINGS_NATS_NKEY: a connection is one user's, leave one of them out")
	}
	if a.NATSCreds != "" {
		if err := a.checkCreds(); err != nil {
			return err
		}
	}
	if a.NATSNkey != "" {
		key, err := a.seed()
		if err != nil {
			return err
		}
		key.Wipe()
	}
	return nil
}

func (a Access) checkCreds() error {
	b, err := read("TIDINGS_NATS_CREDS", a.NATSCreds)
	if err != nil {
		return err
	}
	if jwt, err := nkeys.ParseDecoratedJWT(b); err != nil || strings.Count(jwt, ".") != 2 {
		return fmt.Errorf("TIDINGS_NATS_CREDS: %s holds no user's JWT: it is made by `nsc generate creds` or `nats auth user credential`", a.NATSCreds)
	}
	key, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil {
		return fmt.Errorf("TIDINGS_NATS_CREDS: %s holds no user's seed (SU…) behind the JWT", a.NATSCreds)
	}
	key.Wipe()
	return nil
}

func (a Access) seed() (nkeys.KeyPair, error) {
	b, err := read("TIDINGS_NATS_NKEY", a.NATSNkey)
	if err != nil {
		return nil, err
	}
	key, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil { // what the library says could hold a part of it
		return nil, fmt.Errorf("TIDINGS_NATS_NKEY: %s holds no user's seed (SU…): it is made by `nk -gen user`", a.NATSNkey)
	}
	return key, nil
}

func (a Access) checkCertificates() error {
	if (a.NATSCert == "") != (a.NATSKey == "") {
		return errors.New("TIDINGS_NATS_CERT and TIDINGS_NATS_KEY belong together: set both, or none")
	}
	var errs []error
	if a.NATSCA != "" {
		_, err := a.authorities()
		errs = append(errs, err)
	}
	if a.NATSCert != "" {
		_, err := a.certificate()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (a Access) authorities() (*x509.CertPool, error) {
	b, err := read("TIDINGS_NATS_CA", a.NATSCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("TIDINGS_NATS_CA: %s holds no certificate in PEM", a.NATSCA)
	}
	return pool, nil
}

func (a Access) certificate() (tls.Certificate, error) {
	cert, err := read("TIDINGS_NATS_CERT", a.NATSCert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := read("TIDINGS_NATS_KEY", a.NATSKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("TIDINGS_NATS_CERT and TIDINGS_NATS_KEY: %s and %s are no pair: %w", a.NATSCert, a.NATSKey, err)
	}
	return pair, nil
}

func read(setting, path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no file %s: is the secret mounted?", setting, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %s cannot be read by this user: see to its mode and owner", setting, path)
	case err != nil:
		return nil, fmt.Errorf("%s: %s: %w", setting, path, reason(err))
	}
	return b, nil
}

// namesUser tells whether a URL of the list has a user or a token in it.
func namesUser(urls string) bool {
	for one := range strings.SplitSeq(urls, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil && u.User != nil {
			return true
		}
	}
	return false
}

// Options are what a connection of the role is made with.
func (a Access) Options(role Role) ([]nats.Option, error) {
	opts := []nats.Option{nats.CustomInboxPrefix(role.InboxPrefix())}
	if a.NATSCreds != "" {
		opts = append(opts, nats.UserCredentials(a.NATSCreds))
	}
	if a.NATSNkey != "" {
		// The seed stays in memory. The public key is the user's name, which a connection cannot change: another seed takes a restart.
		key, err := a.seed()
		if err != nil {
			return nil, err
		}
		public, err := key.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("TIDINGS_NATS_NKEY: %w", err)
		}
		opts = append(opts, nats.Nkey(public, key.Sign))
	}
	var authorities nats.RootCAsHandler
	var certificate nats.TLSCertHandler
	if a.NATSCA != "" {
		authorities = a.authorities
	}
	if a.NATSCert != "" {
		certificate = a.certificate
	}
	if authorities != nil || certificate != nil {
		opts = append(opts, nats.ClientTLSConfig(certificate, authorities))
	}
	return opts, nil
}

// Dial is Dial with what the servers ask for. Denied may be nil.
func (a Access) Dial(urls, name string, role Role, log *slog.Logger, denied *Denials) (*nats.Conn, error) {
	if err := a.Validate(urls); err != nil {
		return nil, err
	}
	opts, err := a.Options(role)
	if err != nil {
		return nil, err
	}
	return dial(urls, name, log, denied, opts)
}

// DialOnce is for a command that a person typed: it connects now, or says why not.
func (a Access) DialOnce(urls, name string, role Role) (*nats.Conn, error) {
	shown, err := Redact(urls)
	if err != nil {
		return nil, err
	}
	opts, err := a.Options(role)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(urls, append(opts, nats.Name(name), nats.Timeout(3*time.Second))...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to NATS at %s (TIDINGS_NATS_URL): %w; is tidings running?", shown, InWords(err))
	}
	return nc, nil
}
