package house

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Connect is a connection of the test's own to NATS, closed with the test. It survives servers that are killed.
func Connect(t testing.TB, urls string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(urls, nats.Name("test"), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), nats.ReconnectBufSize(-1), nats.PingInterval(2*time.Second), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Info asks a stream's leader for its state.
func Info(js jetstream.JetStream, stream string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// Leader waits until a stream has a leader, and finds its node.
func Leader(t testing.TB, js jetstream.JetStream, nodes []*Node, stream string) *Node {
	t.Helper()
	var leader *Node
	Eventually(t, Patience, stream+" has a leader", func() error {
		info, err := Info(js, stream)
		if err != nil {
			return err
		}
		if info.Cluster == nil {
			leader = nodes[0]
			return nil
		}
		for _, n := range nodes {
			if n.Name == info.Cluster.Leader {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("it says %q", info.Cluster.Leader)
	})
	return leader
}

// Whole waits until every replica of a stream has all of it, so that the next node may be killed.
func Whole(t testing.TB, js jetstream.JetStream, stream string) {
	t.Helper()
	Eventually(t, 2*Patience, stream+" is whole again", func() error {
		info, err := Info(js, stream)
		if err != nil || info.Cluster == nil {
			return err
		}
		if got := len(info.Cluster.Replicas) + 1; got != info.Config.Replicas {
			return fmt.Errorf("%d replicas, want %d", got, info.Config.Replicas)
		}
		for _, r := range info.Cluster.Replicas {
			if r.Offline || !r.Current {
				return fmt.Errorf("replica %s: offline %v, current %v, lag %d", r.Name, r.Offline, r.Current, r.Lag)
			}
		}
		return nil
	})
}

// Entry is one message of a stream.
type Entry struct {
	Sequence uint64
	Subject  string
	Header   nats.Header
	Data     []byte
}

// ReadStream reads a stream that nothing is added to from its beginning.
func ReadStream(t testing.TB, js jetstream.JetStream, stream string) []Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	info, err := Info(js, stream)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	var list []Entry
	for last := uint64(0); last < info.State.LastSeq && uint64(len(list)) < info.State.Msgs; {
		m, err := messages.Next(jetstream.NextMaxWait(Patience))
		if err != nil {
			t.Fatal(errors.Join(fmt.Errorf("read %s behind %d of %d", stream, last, info.State.LastSeq), err))
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		last = meta.Sequence.Stream
		list = append(list, Entry{last, m.Subject(), m.Headers(), m.Data()})
	}
	return list
}
