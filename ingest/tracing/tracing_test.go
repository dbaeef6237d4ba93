package tracing

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stuck is an exporter whose collector does not answer until it is let go.
type stuck struct {
	let chan error
	got chan int
}

func (s *stuck) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	s.got <- len(spans)
	return <-s.let
}
func (s *stuck) Shutdown(context.Context) error { return nil }

// A collector that takes its time costs the spans that do not fit into the queue, and nobody waits for it.
func TestSlowCollector(t *testing.T) {
	const more = 100
	to := &stuck{let: make(chan error, 64), got: make(chan int, 64)}
	var said strings.Builder
	m := newMetrics(prometheus.NewRegistry())
	q := newQueue(to, m, slog.New(slog.NewTextHandler(&said, nil)))
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(q))
	tracer := provider.Tracer("test")
	span := func() {
		_, sp := tracer.Start(t.Context(), "x")
		sp.End()
	}
	for range most + more { // the first batch is with the collector and counts
		span()
	}
	if got := testutil.ToFloat64(m.full); got != more {
		t.Errorf("%v spans were dropped, want %d", got, more)
	}
	to.let <- errors.New("too late")
	to.let <- errors.New("too late")
	<-to.got
	<-to.got
	for range 20 {
		to.let <- nil
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost, taken := testutil.ToFloat64(m.refused), testutil.ToFloat64(m.exported)
	if lost == 0 || taken == 0 || lost+taken != most {
		t.Errorf("%v spans were lost on the way and %v taken, want %d together, and some of both", lost, taken, most)
	}
	if n := strings.Count(said.String(), "does not take"); n != 1 {
		t.Errorf("the failure was said %d times, want once:\n%s", n, said.String())
	}
	if !strings.Contains(said.String(), "takes traces again") {
		t.Errorf("the recovery was not said:\n%s", said.String())
	}
}

func TestSettings(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://user:secret@collector:4318"
	for name, tt := range map[string]struct {
		env  []string
		off  bool
		grpc bool
		want string // of the sampler, or the error
	}{
		"nothing":           {nil, true, false, ""},
		"disabled":          {[]string{endpoint, "OTEL_SDK_DISABLED=true"}, true, false, ""},
		"no traces":         {[]string{endpoint, "OTEL_TRACES_EXPORTER=none"}, true, false, ""},
		"an endpoint":       {[]string{endpoint}, false, false, "root:TraceIDRatioBased{0.01}"},
		"for traces":        {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://collector/v1/traces"}, false, false, "root:TraceIDRatioBased{0.01}"},
		"gRPC":              {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, false, true, "root:TraceIDRatioBased{0.01}"},
		"another share":     {[]string{endpoint, "OTEL_TRACES_SAMPLER_ARG=0.5"}, false, false, "root:TraceIDRatioBased{0.5}"},
		"all":               {[]string{endpoint, "OTEL_TRACES_SAMPLER=parentbased_always_on"}, false, false, "root:AlwaysOnSampler"},
		"only with parents": {[]string{endpoint, "OTEL_TRACES_SAMPLER=parentbased_always_off"}, false, false, "root:AlwaysOffSampler"},
		"without parents":   {[]string{endpoint, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=.25"}, false, false, "TraceIDRatioBased{0.25}"},
		"share 1 by default": {[]string{endpoint, "OTEL_TRACES_SAMPLER=parentbased_traceidratio"}, false, false,
			"root:TraceIDRatioBased{1}"},
		"a wrong share":    {[]string{endpoint, "OTEL_TRACES_SAMPLER_ARG=NaN"}, false, false, "OTEL_TRACES_SAMPLER_ARG"},
		"a wrong sampler":  {[]string{endpoint, "OTEL_TRACES_SAMPLER=jaeger_remote"}, false, false, "OTEL_TRACES_SAMPLER"},
		"a wrong protocol": {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json"}, false, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"no URL":           {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:secret"}, false, false, "OTEL_EXPORTER_OTLP_ENDPOINT"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := read(func(name string) string {
				for _, kv := range tt.env {
					if v, ok := strings.CutPrefix(kv, name+"="); ok {
						return v
					}
				}
				return ""
			})
			got := ""
			if err != nil {
				got = err.Error()
			} else if s.endpoint != "" {
				got = s.sampler.Description()
			}
			if !strings.Contains(got, tt.want) || (got == "") != tt.off || s.grpc != tt.grpc {
				t.Errorf("got %q, gRPC %v, want %q, %v", got, s.grpc, tt.want, tt.grpc)
			}
			if strings.Contains(got+s.endpoint, "secret") {
				t.Errorf("the secret is in %q", got+s.endpoint)
			}
		})
	}
}

// Off is nil, and what is nil can be used.
func TestOff(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		t.Setenv(name, "")
	}
	tr, err := Start(t.Context(), slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry(), nil)
	if tr != nil || err != nil || tr.Provider() != nil {
		t.Fatalf("got %v, %v, want nothing", tr, err)
	}
	tr.Close()
}

// With a collector that is not there a process ends soon.
func TestClose(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	reg := prometheus.NewRegistry()
	tr, err := Start(t.Context(), slog.New(slog.NewTextHandler(io.Discard, nil)), reg, []string{"gateway"})
	if err != nil {
		t.Fatal(err)
	}
	_, sp := tr.Provider().Tracer("test").Start(t.Context(), "x")
	sp.End()
	began := time.Now()
	tr.Close()
	if took := time.Since(began); took > farewell+2*time.Second {
		t.Errorf("took %v, want at most %v", took, farewell)
	}
}
