package admin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Config are the settings of the admin address.
type Config struct {
	AdminListen string `envconfig:"ADMIN_LISTEN" default:"127.0.0.1:9090" desc:"address of /healthz, /readyz, /metrics and what else is for operators"`
	AdminToken  string `envconfig:"ADMIN_TOKEN" desc:"what all of it but /healthz and /readyz asks for (Authorization: Bearer, or a password); without one, an address that others reach has /metrics besides and no more"`
	Pprof       *bool  `envconfig:"PPROF" desc:"serve /debug/pprof on the admin address; without a word: in development mode only"`
}

// minToken is so long that nobody guesses it.
const minToken = 16

// Validate tells what is wrong with the settings, all of it.
func (c *Config) Validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
		errs = append(errs, fmt.Errorf("TIDINGS_ADMIN_LISTEN is %q, want host:port such as 127.0.0.1:9090", c.AdminListen))
	}
	switch {
	case strings.TrimSpace(c.AdminToken) != c.AdminToken:
		errs = append(errs, errors.New("TIDINGS_ADMIN_TOKEN begins or ends with white space: remove it"))
	case c.AdminToken != "" && len(c.AdminToken) < minToken:
		errs = append(errs, fmt.Errorf("TIDINGS_ADMIN_TOKEN has %d bytes: give %d or more, for instance from `openssl rand -hex 32`", len(c.AdminToken), minToken))
	}
	if c.Pprof != nil && *c.Pprof && c.open() {
		errs = append(errs, fmt.Errorf("TIDINGS_PPROF would show what is in memory to everybody who reaches %s: set TIDINGS_ADMIN_TOKEN, or listen on 127.0.0.1", c.AdminListen))
	}
	return errors.Join(errs...)
}

// open tells that others reach the address, and nothing keeps them from it.
func (c *Config) open() bool { return c.AdminToken == "" && !loopback(c.AdminListen) }

// profiles tells whether pprof is served. It shows memory, secrets in it too, and takes processor time from who is served.
func (c *Config) profiles(development bool) bool {
	if c.Pprof != nil {
		return *c.Pprof
	}
	return development && loopback(c.AdminListen)
}

// loopback tells whether a listen address can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackName(host)
}

func loopbackName(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
