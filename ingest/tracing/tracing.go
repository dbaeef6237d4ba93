package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing is where the spans of a process go. A nil *Tracing is one that is off.
type Tracing struct {
	provider *sdktrace.TracerProvider
}

// farewell bounds how long the end of a process waits for a collector.
const farewell = 3 * time.Second

// Start reads OpenTelemetry's variables. It is nil, without an error, when they do not ask for traces.
func Start(ctx context.Context, log *slog.Logger, reg prometheus.Registerer, roles []string) (*Tracing, error) {
	m := newMetrics(reg)
	s, err := read(os.Getenv)
	if err != nil || s.endpoint == "" {
		return nil, err
	}
	log = log.With("component", "tracing")
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Debug("OpenTelemetry reports an error", "error", err) }))
	about, err := resource.New(ctx, resource.WithHost(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "tidings"), attribute.StringSlice("tidings.roles", roles)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := s.exporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("send traces to %s (OTEL_EXPORTER_OTLP_ENDPOINT): %w", s.endpoint, err)
	}
	log.Info("traces are sent", "endpoint", s.endpoint, "sampler", s.sampler.Description(), "roles", strings.Join(roles, ","))
	return &Tracing{sdktrace.NewTracerProvider(
		sdktrace.WithResource(about),
		sdktrace.WithSampler(s.sampler),
		sdktrace.WithSpanProcessor(newQueue(exporter, m, log)),
	)}, nil
}

// exporter speaks the protocol that is asked for; it does not wait for a connection. Both come to 3.6 MB of the program, and gRPC's part of
// that is 0.2: what OTLP's messages are generated into needs most of it anyway.
func (s *settings) exporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if s.grpc {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// Provider is what spans are made with; nil when traces are off.
func (t *Tracing) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Close sends what is left, if the collector takes it soon.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // what the collector does not take by then is lost
}
