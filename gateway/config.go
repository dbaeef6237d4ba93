package gateway

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"tidings/gateway/tlsfront"
)

// TLSConfig is tlsfront's, under a name that can stand beside the others.
type TLSConfig = tlsfront.Config

// Config are the gateway's settings, read from the environment with the prefix TIDINGS_.
type Config struct {
	AuthConfig
	TLSConfig

	Listen              string        `envconfig:"LISTEN" default:"127.0.0.1:8080" desc:"address for browsers"`
	Loops               int           `envconfig:"LOOPS" default:"0" desc:"I/O loops; 0: one per core"`
	IOURing             bool          `envconfig:"IO_URING" default:"true" desc:"write to many browsers with one system call where the system allows io_uring"`
	Heartbeat           time.Duration `envconfig:"HEARTBEAT" default:"25s" desc:"silence after which a browser gets a heartbeat; below the idle time-out of proxies"`
	HandshakeTimeout    time.Duration `envconfig:"HANDSHAKE_TIMEOUT" default:"10s" desc:"time for a handshake, and for the rest of a message once begun"`
	AuthTimeout         time.Duration `envconfig:"AUTH_TIMEOUT" default:"8s" desc:"time for the first frame with a token, where the handshake had none"`
	MaxMessageBytes     int           `envconfig:"MAX_MESSAGE_BYTES" default:"4096" desc:"largest message a browser may send"`
	MessagesPerSecond   int           `envconfig:"MESSAGES_PER_SECOND" default:"20" desc:"frames a browser may send per second"`
	ConnectionsPerUser  int           `envconfig:"CONNECTIONS_PER_USER" default:"64" desc:"connections of one user to one gateway"`
	Queue               int           `envconfig:"QUEUE" default:"64" desc:"notifications that wait for a slow browser, by reference, before it goes back to its cursor"`
	SlowTimeout         time.Duration `envconfig:"SLOW_TIMEOUT" default:"30s" desc:"time after which a browser that takes no data at all is closed"`
	Compression         bool          `envconfig:"COMPRESSION" default:"false" desc:"agree to permessage-deflate with browsers that offer it"`
	CompressionMin      int           `envconfig:"COMPRESSION_MIN_BYTES" default:"512" desc:"smallest notification that is compressed, in bytes"`
	TailBytes           int           `envconfig:"TAIL_BYTES" default:"268435456" desc:"memory for the newest part of the log, per shard, in bytes"`
	TailRecords         int           `envconfig:"TAIL_RECORDS" default:"50000" desc:"records of the log that are read into memory at start, per shard"`
	ReplayWaiting       int           `envconfig:"REPLAY_WAITING" default:"20000" desc:"browsers that may wait for a scan of the log, per shard; more are reset"`
	ReplayTimeout       time.Duration `envconfig:"REPLAY_TIMEOUT" default:"30s" desc:"time a browser may wait for a scan of the log before it is reset; while NATS is away it does not count, up to ten times as long"`
	MetricKinds         int           `envconfig:"METRIC_KINDS" default:"50" desc:"kinds of notifications that tidings_delivery_seconds tells apart, the first that come; the rest is \"other\""`
	HandshakesPerSecond int           `envconfig:"HANDSHAKES_PER_SECOND" default:"0" desc:"connections that become sessions per second, and as many at once; more are told to come back later; 0: 5,000 for each loop, -1: no bound"`
	MaxLifetime         time.Duration `envconfig:"MAX_LIFETIME" default:"0s" desc:"age at which a browser is sent away, some from half of it on, so that sessions spread over new gateways; 0: never"`
	DrainDelay          time.Duration `envconfig:"DRAIN_DELAY" default:"0s" desc:"time between the signal to end, when the gateway is not ready any more, and the first browser that is sent away"`
	DrainWindow         time.Duration `envconfig:"DRAIN_WINDOW" default:"30s" desc:"time over which browsers are sent away, one after the other, when the gateway ends"`
	GracePeriod         time.Duration `envconfig:"GRACE_PERIOD" default:"60s" desc:"time that the process has to end, terminationGracePeriodSeconds; the two above and 10 s must fit in it"`
	FeedTimeout         time.Duration `envconfig:"FEED_TIMEOUT" default:"10s" desc:"time without word from NATS after which the gateway is not ready"`
}

// loops is how many I/O loops there are.
func (c *Config) loops() int {
	if c.Loops > 0 {
		return c.Loops
	}
	return runtime.GOMAXPROCS(0)
}

// Validate tells what is wrong with the settings, all of it.
func (c *Config) Validate() error {
	var errs []error
	atLeast := func(name string, v, least int) {
		if v < least {
			errs = append(errs, fmt.Errorf("TIDINGS_%s is %d, want at least %d", name, v, least))
		}
	}
	between := func(name string, v, least, most time.Duration) {
		if v < least || v > most {
			errs = append(errs, fmt.Errorf("TIDINGS_%s is %v, want %v to %v", name, v, least, most))
		}
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("TIDINGS_LISTEN is %q, want host:port such as 127.0.0.1:8080", c.Listen))
	}
	atLeast("LOOPS", c.Loops, 0)
	between("HEARTBEAT", c.Heartbeat, time.Second, time.Hour)
	between("HANDSHAKE_TIMEOUT", c.HandshakeTimeout, time.Second, time.Minute)
	between("AUTH_TIMEOUT", c.AuthTimeout, time.Second, time.Minute)
	atLeast("MAX_MESSAGE_BYTES", c.MaxMessageBytes, 128)
	atLeast("MESSAGES_PER_SECOND", c.MessagesPerSecond, 1)
	atLeast("CONNECTIONS_PER_USER", c.ConnectionsPerUser, 1)
	atLeast("HANDSHAKES_PER_SECOND", c.HandshakesPerSecond, -1)
	atLeast("QUEUE", c.Queue, 1)
	atLeast("COMPRESSION_MIN_BYTES", c.CompressionMin, 0)
	between("SLOW_TIMEOUT", c.SlowTimeout, time.Second, time.Hour)
	atLeast("TAIL_BYTES", c.TailBytes, 4096)
	atLeast("TAIL_RECORDS", c.TailRecords, 0)
	atLeast("REPLAY_WAITING", c.ReplayWaiting, 0)
	between("REPLAY_TIMEOUT", c.ReplayTimeout, time.Second, time.Hour)
	if c.MetricKinds < 0 || c.MetricKinds > 200 {
		errs = append(errs, fmt.Errorf("TIDINGS_METRIC_KINDS is %d, want 0 to 200: each is 18 series", c.MetricKinds))
	}
	between("FEED_TIMEOUT", c.FeedTimeout, time.Second, time.Hour)
	if c.MaxLifetime != 0 {
		between("MAX_LIFETIME", c.MaxLifetime, time.Minute, 30*24*time.Hour)
	}
	between("DRAIN_DELAY", c.DrainDelay, 0, time.Hour)
	between("DRAIN_WINDOW", c.DrainWindow, 0, time.Hour)
	if need := c.DrainDelay + c.DrainWindow + drainRest; need > c.GracePeriod {
		errs = append(errs, fmt.Errorf("TIDINGS_GRACE_PERIOD is %v, want at least %v: TIDINGS_DRAIN_DELAY (%v), TIDINGS_DRAIN_WINDOW (%v) and %v to close", c.GracePeriod, need, c.DrainDelay, c.DrainWindow, drainRest))
	}
	return errors.Join(append(errs, c.AuthConfig.Validate(), c.TLSConfig.Validate())...)
}
