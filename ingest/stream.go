package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams of this package.
const (
	StreamEvents = "EVENTS"
	StreamDLQ    = "DLQ"
)

// apiTimeout bounds one request to the JetStream API; an election makes it fail at once, not slowly.
const apiTimeout = 3 * time.Second

// metaSettings in a stream's metadata is what the configuration was when we last applied it. A stream without it was made by
// somebody else (an operator, NACK): its limits are theirs.
const metaSettings = "tidings-settings"

// dlqDuplicates is long because crashes are: a dead letter stored twice is harmless, though, and the window costs memory.
const dlqDuplicates = 30 * time.Minute

// streams makes what is missing and brings what is there to what the contract needs.
type streams struct {
	js  jetstream.JetStream
	nc  *nats.Conn
	cfg Config
}

// What ensure had to do.
const (
	didCreate = "created"
	didUpdate = "updated"
)

// ensure returns the state of EVENTS, and what had to be done to which stream.
func (s streams) ensure(ctx context.Context) (info *jetstream.StreamInfo, did map[string]string, err error) {
	did = make(map[string]string)
	_, what, err := s.ensureOne(ctx, StreamDLQ, s.dlq, needDLQ)
	if err != nil {
		return nil, nil, err
	}
	if what != "" {
		did[StreamDLQ] = what
	}
	info, what, err = s.ensureOne(ctx, StreamEvents, s.events, needEvents)
	if what != "" {
		did[StreamEvents] = what
	}
	return info, did, err
}

func (s streams) ensureOne(ctx context.Context, name string, set, need func(*jetstream.StreamConfig)) (*jetstream.StreamInfo, string, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	old, err := s.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return s.create(ctx, name, set, need)
	}
	if err != nil {
		return nil, "", fmt.Errorf("look for stream %s: %w", name, err)
	}
	want := old.CachedInfo().Config
	if made, ours := want.Metadata[metaSettings]; ours && made != s.cfg.settings() {
		set(&want)
		s.sign(&want)
	}
	need(&want)
	if reflect.DeepEqual(want, old.CachedInfo().Config) {
		return old.CachedInfo(), "", nil
	}
	updated, err := s.js.UpdateStream(ctx, want)
	if err != nil {
		return nil, "", fmt.Errorf("update stream %s: %w", name, err)
	}
	return updated.CachedInfo(), didUpdate, nil
}

func (s streams) create(ctx context.Context, name string, set, need func(*jetstream.StreamConfig)) (*jetstream.StreamInfo, string, error) {
	c := jetstream.StreamConfig{Name: name, Storage: jetstream.FileStorage, Replicas: s.cfg.ReplicasOn(s.nc)}
	set(&c)
	need(&c)
	s.sign(&c)
	made, err := s.js.CreateStream(ctx, c)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // with a setting that differs from ours
		return nil, "", fmt.Errorf("create stream %s: another process made it at the same moment", name)
	}
	if err != nil {
		return nil, "", fmt.Errorf("create stream %s: %w", name, err)
	}
	return made.CachedInfo(), didCreate, nil
}

func (s streams) sign(c *jetstream.StreamConfig) {
	c.Metadata = maps.Clone(c.Metadata)
	if c.Metadata == nil {
		c.Metadata = make(map[string]string)
	}
	c.Metadata[metaSettings] = s.cfg.settings()
}

// events sets what the configuration says about EVENTS.
func (s streams) events(c *jetstream.StreamConfig) {
	c.Description = "Tidings: the domain events, as services publish them (subjects.md)"
	c.MaxAge = s.cfg.EventsMaxAge
	c.Duplicates = s.cfg.Duplicates
	c.MaxBytes = s.cfg.EventsMaxBytes
	if c.MaxBytes == 0 {
		c.MaxBytes = -1
	}
	if s.cfg.Replicas > 0 {
		c.Replicas = s.cfg.Replicas
	}
}

// needEvents is what nothing works without, whoever made the stream.
func needEvents(c *jetstream.StreamConfig) {
	needSubjects(c, publishedPrefix)
	if t := c.SubjectTransform; t == nil || t.Source != transformSource || t.Destination != transformTarget {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: transformSource, Destination: transformTarget}
	}
	c.NoAck = false
}

func (s streams) dlq(c *jetstream.StreamConfig) {
	c.Description = "Tidings: events that could not be handled, with the reason (subjects.md)"
	c.MaxAge = s.cfg.DLQMaxAge
	c.Duplicates = min(dlqDuplicates, s.cfg.DLQMaxAge)
	if s.cfg.Replicas > 0 {
		c.Replicas = s.cfg.Replicas
	}
}

func needDLQ(c *jetstream.StreamConfig) {
	needSubjects(c, "dlq.")
	c.NoAck = false
}

// needSubjects adds prefix> to the subjects, in place of any narrower ones.
func needSubjects(c *jetstream.StreamConfig, prefix string) {
	all := prefix + ">"
	if slices.Contains(c.Subjects, all) {
		return
	}
	c.Subjects = slices.DeleteFunc(slices.Clone(c.Subjects), func(s string) bool { return strings.HasPrefix(s, prefix) })
	c.Subjects = append(c.Subjects, all)
}

// getFromLeader reads the first event from seq on whose subject matches filter, nil when there is none.
func getFromLeader(ctx context.Context, nc *nats.Conn, seq uint64, filter string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{"seq": seq, "next_by_subj": filter})
	if err != nil {
		return nil, err
	}
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+StreamEvents, body)
	if err != nil {
		return nil, fmt.Errorf("read event %d: %w", seq, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fmt.Errorf("read event %d: %w", seq, err)
	}
	if answer.Error != nil {
		if answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, nil
		}
		return nil, fmt.Errorf("read event %d: %w", seq, answer.Error)
	}
	m := answer.Message
	var header nats.Header
	if len(m.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, fmt.Errorf("read event %d: %w", seq, err)
		}
	}
	return &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Seq, Header: header, Data: m.Data, Time: m.Time}, nil
}
