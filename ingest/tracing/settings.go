package tracing

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// settings are those of OpenTelemetry's standard variables that are ours to check; the exporter and the batches read theirs by themselves,
// and where those are wrong they go on with a default, which nobody would notice.
type settings struct {
	endpoint string // "" is off
	grpc     bool
	sampler  sdktrace.Sampler
}

// defaultRatio of the events that come without a trace begin one. OpenTelemetry's own default is all of them: at 10,000 events a second
// that is 30,000 spans.
const defaultRatio = 0.01

func read(getenv func(string) string) (s settings, err error) {
	endpoint := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if endpoint == "" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return s, nil
	}
	u, err1 := url.Parse(endpoint)
	if err1 != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		err = errors.Join(err, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT is no URL such as http://collector:4318"))
	} else {
		s.endpoint = u.Redacted()
	}
	switch protocol := cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), getenv("OTEL_EXPORTER_OTLP_PROTOCOL")); protocol {
	case "", "http/protobuf":
	case "grpc":
		s.grpc = true
	default:
		err = errors.Join(err, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, want http/protobuf (port 4318) or grpc (port 4317)", protocol))
	}
	sampler, err2 := samplerOf(getenv("OTEL_TRACES_SAMPLER"), getenv("OTEL_TRACES_SAMPLER_ARG"))
	s.sampler = sampler
	return s, errors.Join(err, err2)
}

// samplerOf knows the samplers that OpenTelemetry's specification names, but for those of single vendors.
func samplerOf(name, arg string) (sdktrace.Sampler, error) {
	ratio := defaultRatio
	switch name {
	case "":
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "parentbased_always_on":
		return sdktrace.ParentBased(sdktrace.AlwaysSample()), nil
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample()), nil
	case "traceidratio", "parentbased_traceidratio":
		ratio = 1 // as the specification says
	default:
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER is %q, want always_on, always_off, traceidratio, or one of these behind parentbased_", name)
	}
	if arg != "" {
		var err error
		if ratio, err = strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %q, want a share from 0 to 1 such as 0.01", arg)
		}
	}
	if name == "traceidratio" {
		return sdktrace.TraceIDRatioBased(ratio), nil
	}
	return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio)), nil
}
