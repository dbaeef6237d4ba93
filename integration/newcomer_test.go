package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// TestGreeting: the terminal says in a few lines what to do next, and all of it works as it stands there.
func TestGreeting(t *testing.T) {
	d := programs.Start(t, "all", nil).Ready()
	house.Eventually(t, house.Patience, "the greeting is written", func() error {
		if !strings.Contains(d.Stdout(), "Ctrl-C") {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	said := d.Stdout()
	if n := strings.Count(said, "\n"); n > 10 {
		t.Errorf("got %d lines, want a few:\n%s", n, said)
	}
	if !strings.Contains(said, d.NATS()) {
		t.Errorf("got %q, want it to name NATS at %s", said, d.NATS())
	}
	var users []string
	for _, link := range regexp.MustCompile(`http://localhost:\d+/\?user=(\w+)`).FindAllStringSubmatch(said, -1) {
		users = append(users, link[1])
		if body := page(t, link[0]); !strings.Contains(body, "Send an event") {
			t.Errorf("%s is %q, want the start page", link[0], body)
		}
	}
	if want := []string{"alice", "bob"}; !slices.Equal(users, want) {
		t.Fatalf("got links for %q, want %q:\n%s", users, want, said)
	}
	alice, bob := open(t, d, "alice", ""), open(t, d, "bob", "")
	command := regexp.MustCompile(`go run \. publish (\S+) '(.*)'`).FindStringSubmatch(said)
	if command == nil {
		t.Fatalf("got no command that publishes:\n%s", said)
	}
	c := programs.Command(t, house.Settings{"NATS_URL": d.NATS()}, "", "publish", command[1], command[2])
	if code := c.Code(); code != 0 {
		t.Errorf("exit code %d: %s", code, c.Stderr())
	}
	wantData(t, alice, command[2])
	wantData(t, bob, command[2])
	nats := regexp.MustCompile(`nats pub (\S+) '(.*)'`).FindStringSubmatch(said)
	if nats == nil {
		t.Fatalf("got no command of the nats client:\n%s", said)
	}
	if err := house.Connect(t, d.NATS()).Conn().Publish(nats[1], []byte(nats[2])); err != nil { // no more than `nats pub` does
		t.Fatal(err)
	}
	wantData(t, alice, nats[2])
}

func page(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, r.Status, err)
	}
	return string(b)
}

func wantData(t *testing.T, v *viewer, want string) {
	t.Helper()
	if n, ok := v.next().(wsclient.Notification); !ok || string(n.Data) != want || !json.Valid(n.Data) {
		t.Errorf("%s got %+v with %s, want %s", v.user, n, n.Data, want)
	}
}

// TestNoGreetingForOperators: with a key the links would not work, and standard output stays empty.
func TestNoGreetingForOperators(t *testing.T) {
	d := programs.Start(t, "all", house.Settings{"AUTH_HMAC_SECRET": "0123456789abcdef0123456789abcdef"}).Ready()
	if code := d.Terminate(house.Patience); code != 0 || d.Stdout() != "" {
		t.Errorf("got exit code %d and %q on standard output, want 0 and nothing", code, d.Stdout())
	}
	if strings.Contains(d.Stderr(), "0123456789abcdef") {
		t.Error("the logs hold the secret")
	}
}
