package integration

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"tidings/integration/house"
)

// collectorServer is a receiver of OTLP traces, over HTTP or gRPC.
type collectorServer struct {
	collector.UnimplementedTraceServiceServer
	t   testing.TB
	url string

	mu    sync.Mutex // guards the following
	spans []spanSeen
	down  bool // it refuses everything
}

// spanSeen is a span as it arrived.
type spanSeen struct {
	*trace.Span
	service, role string
	attributes    map[string]string
}

func (s spanSeen) trace() string  { return hex.EncodeToString(s.TraceId) }
func (s spanSeen) id() string     { return hex.EncodeToString(s.SpanId) }
func (s spanSeen) parent() string { return hex.EncodeToString(s.ParentSpanId) }

// startCollector starts one for OTLP/HTTP. What the test starts from now on sends its traces there, all of them that a parent does not
// forbid, and soon.
func startCollector(t *testing.T) *collectorServer {
	t.Helper()
	c := &collectorServer{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	c.environment(map[string]string{})
	return c
}

// startGRPCCollector starts one for OTLP/gRPC.
func startGRPCCollector(t *testing.T) *collectorServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collectorServer{t: t, url: "http://" + l.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c.environment(map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
	return c
}

func (c *collectorServer) environment(more map[string]string) {
	c.t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.url)
	c.t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
	c.t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	for k, v := range more {
		c.t.Setenv(k, v)
	}
}

func (c *collectorServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	m := &collector.ExportTraceServiceRequest{}
	if err == nil {
		err = proto.Unmarshal(b, m)
	}
	if r.URL.Path != "/v1/traces" || err != nil {
		c.t.Errorf("the collector was sent %s %s: %v", r.Method, r.URL, err)
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	answer, err := c.Export(r.Context(), m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden) // one that is not tried again
		return
	}
	b, _ = proto.Marshal(answer)
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(b)
}

// Export is gRPC's way in.
func (c *collectorServer) Export(_ context.Context, m *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return nil, fmt.Errorf("no")
	}
	for _, rs := range m.ResourceSpans {
		of := values(rs.Resource.Attributes)
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, spanSeen{s, of["service.name"], of["tidings.roles"], values(s.Attributes)})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func values(list []*common.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[kv.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_DoubleValue:
			m[kv.Key] = fmt.Sprint(v.DoubleValue)
		case *common.AnyValue_BoolValue:
			m[kv.Key] = fmt.Sprint(v.BoolValue)
		case *common.AnyValue_ArrayValue:
			for i, e := range v.ArrayValue.Values {
				if i > 0 {
					m[kv.Key] += ","
				}
				m[kv.Key] += e.GetStringValue()
			}
		}
	}
	return m
}

func (c *collectorServer) setDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// all is every span that came.
func (c *collectorServer) all() []spanSeen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// trace waits until a trace has so many spans.
func (c *collectorServer) trace(id string, n int) (list []spanSeen) {
	c.t.Helper()
	house.Eventually(c.t, house.Patience, fmt.Sprintf("trace %s has %d spans", id, n), func() error {
		list = slices.DeleteFunc(c.all(), func(s spanSeen) bool { return s.trace() != id })
		if len(list) != n {
			return fmt.Errorf("it has %d: %v", len(list), names(list))
		}
		return nil
	})
	return list
}

func names(list []spanSeen) (names []string) {
	for _, s := range list {
		names = append(names, s.Name)
	}
	return names
}

// named is the one span of a name.
func named(t testing.TB, list []spanSeen, name string) spanSeen {
	t.Helper()
	i := slices.IndexFunc(list, func(s spanSeen) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no span %q among %v", name, names(list))
	}
	return list[i]
}
