package tlsfront

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// lookEvery is how often the files are looked at. Kubernetes itself takes up to a minute to bring a changed Secret to them.
const lookEvery = 10 * time.Second

// certificate is the pair that handshakes are made with. Connections keep what they were made with.
type certificate struct {
	// Fixed at creation.
	cert, key string
	log       *slog.Logger
	metrics   *metrics

	now atomic.Pointer[tls.Certificate]

	// Owned by watch.
	seen [2][]byte // what was in the files at the last look
}

func newCertificate(cfg Config, log *slog.Logger, m *metrics) (*certificate, error) {
	c := &certificate{cert: cfg.TLSCert, key: cfg.TLSKey, log: log, metrics: m}
	_, err := c.look()
	return c, err
}

// get is for tls.Config.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil }

// watch looks for another pair until the context ends. The files are compared by what is in them: a Secret changes by another target of a
// symbolic link, and a copied file may be older than the one before.
func (c *certificate) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.again()
		}
	}
}

// again takes a changed pair. One that cannot be used leaves the old one in place: the next look may find the other half of a change.
func (c *certificate) again() {
	switch changed, err := c.look(); {
	case err != nil && changed:
		c.metrics.reloads.WithLabelValues("failed").Inc()
		c.log.Error("the changed TLS certificate cannot be used, the one before stays", "error", err, "until", c.now.Load().Leaf.NotAfter)
	case err == nil && changed:
		c.metrics.reloads.WithLabelValues("ok").Inc()
		c.log.Info("the TLS certificate has changed, new connections have the new one", "until", c.now.Load().Leaf.NotAfter)
	}
}

// look reads the files. It takes what they hold if that is another pair than at the last look, and a good one.
func (c *certificate) look() (changed bool, err error) {
	var files [2][]byte
	for i, path := range []string{c.cert, c.key} {
		if files[i], err = os.ReadFile(path); err != nil {
			files[i] = nil
			err = unreadable([]string{"TIDINGS_TLS_CERT", "TIDINGS_TLS_KEY"}[i], path, err)
			break
		}
	}
	changed = c.now.Load() == nil || !bytes.Equal(files[0], c.seen[0]) || !bytes.Equal(files[1], c.seen[1])
	c.seen = files
	if err != nil || !changed {
		return changed, err
	}
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		return changed, fmt.Errorf("TIDINGS_TLS_CERT and TIDINGS_TLS_KEY: %s and %s are no pair: %w", c.cert, c.key, err)
	}
	if left := time.Until(pair.Leaf.NotAfter); left <= 0 {
		return changed, fmt.Errorf("TIDINGS_TLS_CERT: the certificate in %s ended on %s: renew it", c.cert, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	c.now.Store(&pair)
	c.metrics.expires.Set(float64(pair.Leaf.NotAfter.Unix()))
	return changed, nil
}

func unreadable(setting, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: there is no file %s: is the secret mounted?", setting, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %s cannot be read by this user: see to its mode and owner", setting, path)
	}
	return fmt.Errorf("%s: %w", setting, err)
}
