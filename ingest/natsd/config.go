package natsd

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Config is what the embedded server needs.
type Config struct {
	NATSStore  string `envconfig:"NATS_STORE" default:"tidings-data" desc:"Embedded NATS: directory of the streams; it survives a restart"`
	NATSListen string `envconfig:"NATS_LISTEN" default:"127.0.0.1:4222" desc:"Embedded NATS: host:port where other NATS clients connect; port 0 takes a free one"`
}

// Validate tells in one sentence what is wrong with c.
func (c Config) Validate() error {
	if strings.TrimSpace(c.NATSStore) == "" {
		return fmt.Errorf("TIDINGS_NATS_STORE is empty: name the directory where NATS keeps its streams")
	}
	_, _, err := c.address()
	return err
}

// address is host and port for the server's options: an empty host is every interface, port -1 any free one.
func (c Config) address() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(c.NATSListen)
	if err != nil {
		return "", 0, fmt.Errorf("TIDINGS_NATS_LISTEN is %q: want host:port, as in 127.0.0.1:4222", c.NATSListen)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("TIDINGS_NATS_LISTEN is %q: the port is a number from 0 to 65535", c.NATSListen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if n == 0 {
		return host, -1, nil
	}
	return host, int(n), nil
}
