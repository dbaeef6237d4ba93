package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/ingest/natsd"
	"tidings/integration/house"
	"tidings/integration/wsclient"
)

// TestLeastPermissions: the product in separate roles, each with the permissions we ship and none more, does all it does without them.
func TestLeastPermissions(t *testing.T) {
	t.Run("nkeys, certificates of both sides", func(t *testing.T) { leastPermissions(t, withNkeys(t)) })
	t.Run("credentials, TLS", func(t *testing.T) {
		g, _ := withCredentials(t)
		leastPermissions(t, g)
	})
}

func leastPermissions(t *testing.T, g *guarded) {
	fanoutSettings := g.settings(natsd.RoleFanout).With(house.Settings{"ROLES": "fanout", "DUPLICATES": "10s"})
	fan := programs.Start(t, "fanout", fanoutSettings).Ready()
	gate := programs.Start(t, "gateway", g.settings(natsd.RoleGateway).With(house.Settings{
		"ROLES": "gateway", "TAIL_BYTES": "65536", "TAIL_RECORDS": "10",
	})).Ready()
	_, js := g.as(natsd.RolePublisher)

	alice := open(t, gate, "alice", "")
	published := programs.Command(t, g.settings(natsd.RolePublisher), "", "publish", "events.test.1.told", `{"userId":"alice"}`)
	if published.Code() != 0 {
		t.Fatalf("tidings publish: %s", published.Stderr())
	}
	if n, ok := alice.next().(wsclient.Notification); !ok {
		t.Fatalf("alice got %+v, want a notification", n)
	}
	tell(t, js, "e-1", "alice")
	alice.expect("e-1")
	first, old := time.Now(), alice.cursor

	// More than the tail holds: who comes back is served by a scan of the log.
	list := ids("long", 1, 40)
	for _, id := range list {
		tellLong(t, js, id, 8192, "alice")
	}
	alice.expect(list...)
	back := open(t, gate, "alice", old)
	back.expectResume("complete")
	back.expect(list...)
	if gate.Metric("tidings_replay_scans_total") == 0 {
		t.Error("nothing was scanned, so that the permissions for it are not tested")
	}

	// An event goes to the DLQ.
	bad := nats.NewMsg("events.test.2.broken")
	bad.Header.Set("ce-specversion", "1.0") // without the rest
	if _, err := js.PublishMsg(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	house.Eventually(t, house.Patience, "an event is in the DLQ", func() error {
		if fan.Metric("tidings_dead_letters_total") == 0 {
			return errors.New("none")
		}
		return nil
	})

	// A consumer is deleted while nobody runs: what was handled comes again, and is looked for in the log.
	_, admin := g.as(natsd.RoleOperator)
	if code := fan.Terminate(house.Patience); code != 0 {
		t.Errorf("fanout left with %d", code)
	}
	names, err := consumerNames(admin, "EVENTS")
	if err != nil || len(names) != 17 {
		t.Fatalf("consumers of EVENTS: %q, %v", names, err)
	}
	for _, name := range names {
		if err := admin.DeleteConsumer(t.Context(), "EVENTS", name); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Until(first.Add(10 * time.Second))) // the duplicate window is what is tested
	fan = programs.Start(t, "fanout again", fanoutSettings).Ready()
	tell(t, js, "e-2", "alice")
	alice.expect("e-2")
	if fan.Metric("tidings_log_lookups_total", "found") == 0 {
		t.Error("nothing was looked for in the log, so that the permissions for it are not tested")
	}

	// An operator deletes streams: they are made again.
	for _, stream := range []string{"LOG_0", "DLQ", "EVENTS"} {
		if err := admin.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	house.Eventually(t, house.Patience, "the streams are there again", func() error {
		_, err := house.Info(admin, "EVENTS")
		return err
	})
	tell(t, js, "e-3", "alice")
	alice.expectReset()
	tell(t, js, "e-4", "alice")
	for n, ok := alice.next().(wsclient.Notification); n.ID != "e-4"; n, ok = alice.next().(wsclient.Notification) {
		if !ok {
			t.Fatal("alice got something else than e-3 and e-4")
		}
	}
	for _, d := range []*house.Tidings{fan, gate} {
		if n := d.Metric("tidings_nats_denied_total"); n != 0 {
			t.Errorf("%s was refused %v things", d.Name, n)
		}
	}
	if code := gate.Terminate(house.Patience); code != 0 {
		t.Errorf("the gateway left with %d", code)
	}
	if code := fan.Terminate(house.Patience); code != 0 {
		t.Errorf("fanout left with %d", code)
	}
	g.wantNoViolation()
}

func consumerNames(js jetstream.JetStream, stream string) (names []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	list := s.ConsumerNames(ctx)
	for name := range list.Name() {
		names = append(names, name)
	}
	return names, list.Err()
}

// TestDenials: what each role must not do is refused by the server, and told as a violation of permissions.
func TestDenials(t *testing.T) {
	g := withNkeys(t)
	programs.Start(t, "fanout", g.settings(natsd.RoleFanout).With(house.Settings{"ROLES": "fanout"})).Ready()
	const publish, subscribe = "publish", "subscribe"
	for _, c := range []struct {
		role    natsd.Role
		what    string
		do      string
		subject string
	}{
		{natsd.RoleGateway, "publishes events", publish, "events.orders.1.shipped"},
		{natsd.RoleGateway, "writes the log", publish, "log.0.3"},
		{natsd.RoleGateway, "writes the mixed part of the log", publish, "log.0.m"},
		{natsd.RoleGateway, "writes dead letters", publish, "dlq.events.a"},
		{natsd.RoleGateway, "deletes the log", publish, "$JS.API.STREAM.DELETE.LOG_0"},
		{natsd.RoleGateway, "purges the log", publish, "$JS.API.STREAM.PURGE.LOG_0"},
		{natsd.RoleGateway, "deletes a record", publish, "$JS.API.STREAM.MSG.DELETE.LOG_0"},
		{natsd.RoleGateway, "changes the log", publish, "$JS.API.STREAM.UPDATE.LOG_0"},
		{natsd.RoleGateway, "makes streams", publish, "$JS.API.STREAM.CREATE.MINE"},
		{natsd.RoleGateway, "deletes the events", publish, "$JS.API.STREAM.DELETE.EVENTS"},
		{natsd.RoleGateway, "purges the events", publish, "$JS.API.STREAM.PURGE.EVENTS"},
		{natsd.RoleGateway, "reads events through a consumer", publish, "$JS.API.CONSUMER.CREATE.EVENTS.mine"},
		{natsd.RoleGateway, "takes events from the workers", publish, "$JS.API.CONSUMER.MSG.NEXT.EVENTS.fanout-0"},
		{natsd.RoleGateway, "reads an event", publish, "$JS.API.STREAM.MSG.GET.EVENTS"},
		{natsd.RoleGateway, "deletes the workers' consumers", publish, "$JS.API.CONSUMER.DELETE.EVENTS.fanout-0"},
		{natsd.RoleGateway, "acknowledges events", publish, "$JS.ACK.EVENTS.fanout-0.1.1.1.1.0"},
		{natsd.RoleGateway, "gives orders to gateways", publish, "control.revoke"},
		{natsd.RoleGateway, "listens to events", subscribe, "events.>"},
		{natsd.RoleGateway, "reads fanout's answers", subscribe, "_INBOX_fanout.>"},
		{natsd.RoleGateway, "reads the publishers' answers", subscribe, "_INBOX_publisher.>"},
		{natsd.RoleGateway, "reads the operators' answers", subscribe, "_INBOX_operator.>"},
		{natsd.RoleGateway, "reads everybody's answers", subscribe, "_INBOX.>"},
		{natsd.RoleGateway, "listens to everything", subscribe, ">"},

		{natsd.RoleFanout, "deletes the log", publish, "$JS.API.STREAM.DELETE.LOG_0"},
		{natsd.RoleFanout, "purges the log", publish, "$JS.API.STREAM.PURGE.LOG_0"},
		{natsd.RoleFanout, "deletes a record", publish, "$JS.API.STREAM.MSG.DELETE.LOG_0"},
		{natsd.RoleFanout, "deletes the events", publish, "$JS.API.STREAM.DELETE.EVENTS"},
		{natsd.RoleFanout, "purges the events", publish, "$JS.API.STREAM.PURGE.EVENTS"},
		{natsd.RoleFanout, "publishes events", publish, "events.orders.1.shipped"},
		{natsd.RoleFanout, "makes other streams", publish, "$JS.API.STREAM.CREATE.MINE"},
		{natsd.RoleFanout, "gives orders to gateways", publish, "control.revoke"},
		{natsd.RoleFanout, "reads the gateways' answers", subscribe, "_INBOX_gateway.>"},
		{natsd.RoleFanout, "listens to everything", subscribe, ">"},

		{natsd.RolePublisher, "listens to events", subscribe, "events.>"},
		{natsd.RolePublisher, "listens to the log", subscribe, "log.>"},
		{natsd.RolePublisher, "reads the gateways' answers", subscribe, "_INBOX_gateway.>"},
		{natsd.RolePublisher, "asks about streams", publish, "$JS.API.STREAM.INFO.EVENTS"},
		{natsd.RolePublisher, "reads a record", publish, "$JS.API.DIRECT.GET.LOG_0"},
		{natsd.RolePublisher, "reads an event", publish, "$JS.API.STREAM.MSG.GET.EVENTS"},
		{natsd.RolePublisher, "reads through a consumer", publish, "$JS.API.CONSUMER.CREATE.LOG_0.mine"},
		{natsd.RolePublisher, "writes the log", publish, "log.0.3"},
		{natsd.RolePublisher, "gives orders to gateways", publish, "control.revoke"},

		{natsd.RoleOperator, "publishes events", publish, "events.orders.1.shipped"},
		{natsd.RoleOperator, "writes the log", publish, "log.0.3"},
		{natsd.RoleOperator, "reads the gateways' answers", subscribe, "_INBOX_gateway.>"},
	} {
		t.Run(string(c.role)+" "+c.what, func(t *testing.T) {
			refused := make(chan error, 4)
			nc, _ := g.as(c.role, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
			var err error
			if c.do == publish {
				err = nc.PublishRequest(c.subject, nc.NewInbox(), []byte(`{}`))
			} else {
				_, err = nc.SubscribeSync(c.subject)
			}
			if err == nil {
				err = nc.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			select {
			case err = <-refused: // the server answers in order, so that it is there behind the flush
			case <-time.After(house.Patience):
				t.Fatal("it was not refused")
			}
			if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), `"`+c.subject+`"`) {
				t.Errorf("got %v, want a violation of permissions for %s", err, c.subject)
			}
		})
	}
}

// TestTooFewPermissions: a process whose user lacks what it needs says so once, with what to do, and is not ready.
func TestTooFewPermissions(t *testing.T) {
	g := withNkeys(t)
	programs.Start(t, "fanout", g.settings(natsd.RoleFanout).With(house.Settings{"ROLES": "fanout"})).Ready()
	for _, role := range []string{"gateway", "fanout"} {
		t.Run(role, func(t *testing.T) {
			d := programs.Start(t, role, g.settings(natsd.RolePublisher).With(house.Settings{"ROLES": role}))
			house.Eventually(t, house.Patience, "it says what it lacks", func() error {
				err := d.IsReady()
				if err == nil || !strings.Contains(err.Error(), "NATS does not allow this user to") || !strings.Contains(err.Error(), "accounts.conf") {
					return fmt.Errorf("readyz says: %v", err)
				}
				return nil
			})
			house.Eventually(t, house.Patience, "it tried again", func() error {
				if n := d.Metric("tidings_nats_denied_total"); n < 5 {
					return fmt.Errorf("%v times", n)
				}
				return nil
			})
			said := map[string]int{}
			for line := range strings.SplitSeq(d.Stderr(), "\n") {
				if _, rest, ok := strings.Cut(line, `"msg":"NATS does not allow what is needed"`); ok {
					said[rest]++
				}
			}
			for what, n := range said {
				if n != 1 {
					t.Errorf("said %d times: %s", n, what)
				}
			}
			if len(said) == 0 || len(said) > 10 {
				t.Errorf("got %d lines, want a few: %v", len(said), said)
			}
		})
	}
}
