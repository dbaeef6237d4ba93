package fanout

import (
	"errors"
	"fmt"
	"time"
)

// MaxShards bounds TIDINGS_SHARDS: group and "all" Records are stored once per shard.
const MaxShards = 64

// Config is what an operator sets.
type Config struct {
	Rules       string        `envconfig:"RULES" default:"" desc:"file with the rules; without one each event names its users itself"`
	Shards      int           `envconfig:"SHARDS" default:"1" desc:"streams that the log is spread over, 1 to 64; fixed once the log exists"`
	LogMaxAge   time.Duration `envconfig:"LOG_MAX_AGE" default:"24h" desc:"how long the log keeps records: who was away longer starts anew"`
	RevokedFor  time.Duration `envconfig:"REVOKED_FOR" default:"168h" desc:"how long tokens are refused that were issued before their user was revoked: at least as long as tokens are good"`
	LogMaxBytes int64         `envconfig:"LOG_MAX_BYTES" default:"1073741824" desc:"bytes on disk per shard of the log; the oldest records go first; -1 for no limit"`
}

// Validate tells what is wrong with c, all of it.
func (c Config) Validate() error {
	var errs []error
	if c.Shards < 1 || c.Shards > MaxShards {
		errs = append(errs, fmt.Errorf("TIDINGS_SHARDS is %d, want 1 to %d", c.Shards, MaxShards))
	}
	if c.LogMaxAge < time.Minute {
		errs = append(errs, fmt.Errorf("TIDINGS_LOG_MAX_AGE is %s, want at least 1m", c.LogMaxAge))
	}
	if c.RevokedFor < time.Minute {
		errs = append(errs, fmt.Errorf("TIDINGS_REVOKED_FOR is %s, want at least 1m", c.RevokedFor))
	}
	if c.LogMaxBytes != -1 && c.LogMaxBytes < 1<<20 {
		errs = append(errs, fmt.Errorf("TIDINGS_LOG_MAX_BYTES is %d, want at least 1048576 (1 MiB), or -1 for no limit", c.LogMaxBytes))
	}
	return errors.Join(errs...)
}

// Log is the part of c that makes the streams, with what ingest has found out: the number of replicas and the duplicate
// window, which are the same for all streams. The server wants no window longer than the age.
func (c Config) Log(replicas int, duplicates time.Duration) LogConfig {
	return LogConfig{
		Shards:     c.Shards,
		MaxAge:     c.LogMaxAge,
		MaxBytes:   c.LogMaxBytes,
		Replicas:   replicas,
		Duplicates: min(duplicates, c.LogMaxAge),
	}
}
