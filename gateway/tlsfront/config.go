package tlsfront

import (
	"errors"
	"fmt"
)

// Config are the settings of TLS for browsers.
type Config struct {
	TLSCert       string `envconfig:"TLS_CERT" desc:"PEM file of the certificate and its chain, for TLS without an ingress; read again when it changes; empty: no TLS"`
	TLSKey        string `envconfig:"TLS_KEY" desc:"PEM file of the certificate's key"`
	TLSHandshakes int    `envconfig:"TLS_HANDSHAKES" default:"1024" desc:"TLS handshakes under way at once; more wait in the kernel's queue"`
}

// Wanted tells that there is to be TLS.
func (c *Config) Wanted() bool { return c.TLSCert != "" }

// Validate tells what is wrong with the settings. The files are read by New.
func (c *Config) Validate() error {
	var errs []error
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("TIDINGS_TLS_CERT and TIDINGS_TLS_KEY belong together: set both, or none"))
	}
	if c.TLSHandshakes < 1 {
		errs = append(errs, fmt.Errorf("TIDINGS_TLS_HANDSHAKES is %d, want at least 1", c.TLSHandshakes))
	}
	return errors.Join(errs...)
}
