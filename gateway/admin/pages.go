package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Needs is what the pages tell about.
type Needs struct {
	Alive       func() error // is it stuck? nil: no
	Ready       func() error // may browsers and events be sent here? nil: yes
	Metrics     prometheus.Gatherer
	Development bool // the process is in development mode
}

// Pages are what is served.
type Pages struct {
	guard guard
	mux   *http.ServeMux
}

// New has the probes, /metrics, and /debug/pprof where the settings say so.
func New(cfg Config, n Needs) *Pages {
	p := &Pages{guard: newGuard(&cfg), mux: http.NewServeMux()}
	p.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Alive()) })
	p.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, n.Ready()) })
	p.mux.Handle("GET /metrics", promhttp.HandlerFor(n.Metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	if cfg.profiles(n.Development) {
		p.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		p.mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		p.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		p.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		p.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return p
}

// Handle adds a page, which is for operators only.
func (p *Pages) Handle(pattern string, h http.Handler) { p.mux.Handle(pattern, h) }

// ServeHTTP implements http.Handler.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.guard.admit(w, r) {
		p.mux.ServeHTTP(w, r)
	}
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}
