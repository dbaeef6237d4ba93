//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidings/integration/load/floor/order"
	"tidings/integration/load/loadgen"
)

// sink takes events for one server.
type sink interface {
	// one is an event for the user of that number.
	one(user int) error
	// all is an event for every tab.
	all() error
	// flush hands over what is buffered.
	flush() error
	// settled waits until everything is taken, and tells of events that were not.
	settled(context.Context) error
	close()
}

const settleWithin = 20 * time.Second

// streamSink publishes to Tidings through JetStream: every event is stored and acknowledged before the run counts it as sent.
type streamSink struct {
	*publisher
	js   jetstream.JetStream
	body *maker
}

func newStreamSink(url string, bytes int) (*streamSink, error) {
	nc, err := connectNATS(url)
	if err != nil {
		return nil, err
	}
	s := &streamSink{body: newMaker(bytes)}
	if s.js, err = jetstream.New(nc); err == nil {
		s.publisher, err = newPublisher(nc)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return s, nil
}

func connectNATS(url string) (*nats.Conn, error) {
	nc, err := nats.Connect(url, nats.Name("tidings load"))
	if err != nil {
		return nil, fmt.Errorf("connect to %s to publish: %w", url, err)
	}
	return nc, nil
}

func (s *streamSink) one(user int) error {
	return s.publish(fmt.Sprintf("events.load.%d.one", user), s.body.data(loadgen.User(user)))
}

func (s *streamSink) all() error { return s.publish("events.load.0.all", s.body.data("")) }

// many is an event for users from, from+1, … before to.
func (s *streamSink) many(from, to int) error {
	return s.publish("events.load.0.many", []byte(`{"users":`+usersFrom(from, to)+`}`))
}

// some is an event with so many bytes for users from, from+1, … before to.
func (s *streamSink) some(from, to, bytes int) error {
	return s.publish("events.load.0.some", []byte(`{"users":`+usersFrom(from, to)+`,"text":"`+strings.Repeat("x", bytes)+`"}`))
}

// usersFrom is a list in JSON.
func usersFrom(from, to int) string {
	b := []byte{'['}
	for u := from; u < to; u++ {
		b = append(append(append(b, '"'), loadgen.User(u)...), `",`...)
	}
	b[len(b)-1] = ']'
	return string(b)
}

func (s *streamSink) flush() error { return nil } // the library does

func (s *streamSink) close() { s.nc.Close() }

// coreSink publishes to the plain server with core NATS, which is all it has.
type coreSink struct {
	nc   *nats.Conn
	body *maker
}

func newCoreSink(url string, bytes int) (*coreSink, error) {
	nc, err := connectNATS(url)
	if err != nil {
		return nil, err
	}
	return &coreSink{nc, newMaker(bytes)}, nil
}

func (t *coreSink) one(user int) error {
	u := loadgen.User(user)
	return t.publish(fmt.Sprintf("plain.%d.one", user), `{"users":["`+u+`"],"data":`, t.body.data(u))
}

func (t *coreSink) all() error {
	return t.publish("plain.0.all", `{"all":true,"data":`, t.body.data(""))
}

// some is as streamSink's.
func (t *coreSink) some(from, to, bytes int) error {
	return t.publish("plain.0.some", `{"users":`+usersFrom(from, to)+`,"data":`, []byte(`{"text":"`+strings.Repeat("x", bytes)+`"}`))
}

func (t *coreSink) publish(subject, audience string, data []byte) error {
	return t.nc.Publish(subject, append(append([]byte(audience), data...), '}'))
}

func (t *coreSink) flush() error { return nil }

func (t *coreSink) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	return t.nc.FlushWithContext(ctx)
}

func (t *coreSink) close() { t.nc.Close() }

// floorSink tells the floor over a pipe whom to write to.
type floorSink struct {
	pipe        io.WriteCloser
	out         *bufio.Writer
	buf         []byte
	users, open int // tabs, of so many users
}

func newFloorSink(pipe io.WriteCloser, users int) *floorSink {
	return &floorSink{pipe: pipe, out: bufio.NewWriterSize(pipe, 32<<10), users: users}
}

// one writes to as many connections as the user has tabs. They need not be the user's own: the floor knows none.
func (o *floorSink) one(user int) error {
	for i := user; i < o.open; i += o.users {
		if err := o.tell(i); err != nil {
			return err
		}
	}
	return nil
}

func (o *floorSink) all() error { return o.tell(order.All) }

func (o *floorSink) tell(index int) error {
	o.buf = order.Append(o.buf[:0], index, time.Now().UnixNano())
	_, err := o.out.Write(o.buf)
	return err
}

func (o *floorSink) flush() error                  { return o.out.Flush() }
func (o *floorSink) settled(context.Context) error { return o.out.Flush() }
func (o *floorSink) close()                        { o.pipe.Close() }
