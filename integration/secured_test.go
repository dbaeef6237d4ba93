package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tidings/ingest/natsd"
	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// clientTLS trusts an authority.
func clientTLS(ca *house.Authority) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"}
}

func fetch(t *testing.T, r *http.Request) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(a.Status, a.Header, string(b))
}

// TestRenewedCredentials: a user's JWT ends under a running gateway; the sessions stay, readiness says why, and a new file in its place is all it takes.
func TestRenewedCredentials(t *testing.T) {
	g, signer := withCredentials(t)
	programs.Start(t, "fanout", g.settings(natsd.RoleFanout).With(house.Settings{"ROLES": "fanout"})).Ready()
	signer.creds(t, natsd.RoleGateway, 8*time.Second)
	gate := programs.Start(t, "gateway", g.settings(natsd.RoleGateway).With(house.Settings{"ROLES": "gateway", "FEED_TIMEOUT": "2s"})).Ready()
	alice := open(t, gate, "alice", "")
	house.Eventually(t, house.Patience, "the end of the credentials is felt", func() error {
		if gate.IsReady() == nil {
			return errors.New("it is ready")
		}
		if !strings.Contains(gate.Stderr(), "put new credentials in the place of the old ones") && !strings.Contains(gate.Stderr(), "see to TIDINGS_NATS_CREDS") {
			return errors.New("it does not say what to do")
		}
		return nil
	})
	_, js := g.as(natsd.RolePublisher)
	tell(t, js, "e-1", "alice")
	signer.creds(t, natsd.RoleGateway, 0)
	gate.Ready()
	alice.expect("e-1")
}

// TestTLSWithoutIngress: the binary itself speaks TLS; a certificate that is renewed under it is the new connections', and no tab is dropped.
func TestTLSWithoutIngress(t *testing.T) {
	ca := house.NewAuthority(t)
	cert, key := ca.Issue(t, "browsers", time.Now().Add(time.Hour))
	d := programs.Start(t, "all", house.Settings{"TLS_CERT": cert, "TLS_KEY": key}).Ready()
	dial := func() (*wsclient.Tab, string) {
		t.Helper()
		tab, err := wsclient.Dial(t.Context(), "wss://"+d.Address("browsers")+"/ws?user=alice", wsclient.Options{Protocols: []string{"tidings.v1"}, TLS: clientTLS(ca)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tab.Hangup)
		if f, err := tab.Next(house.Patience); err != nil {
			t.Fatal(f, err)
		}
		return tab, tab.NetConn().(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old, first := dial()
	ca.Issue(t, "browsers", time.Now().Add(2*time.Hour)) // in the place of the files
	house.Eventually(t, house.Patience, "the new certificate is taken", func() error {
		tab, now := dial()
		tab.Hangup()
		if now == first {
			return errors.New("it is the old one")
		}
		return nil
	})
	tell(t, house.Connect(t, d.NATS()), "e-1", "alice")
	for {
		f, err := old.Next(house.Patience)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := f.(wsclient.Notification); ok && n.ID == "e-1" {
			break
		}
	}
	if code := d.Terminate(house.Patience); code != 0 {
		t.Errorf("it left with %d", code)
	}
	for {
		_, err := old.Next(house.Patience)
		if err == nil {
			continue
		}
		if wsclient.CloseCode(err) != 1012 {
			t.Errorf("the tab was closed with %v, want 1012", err)
		}
		return
	}
}
