// Package tracing sends OpenTelemetry spans to a collector, over OTLP (HTTP or gRPC). Both roles of a process use one Tracing; who makes a span
// gets a trace.TracerProvider and knows nothing of where it goes.
//
// It is off unless the standard variable OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) is set, and then nobody is given
// a provider. A collector that is slow or away costs spans, which are counted, and nothing else.
package tracing
