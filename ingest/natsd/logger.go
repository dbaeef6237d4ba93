package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// logger takes nats-server's lines to slog, warnings and up. The server reports what it cannot start with only as a
// "fatal" line; the first one is kept for Start.
type logger struct {
	log *slog.Logger

	once  sync.Once
	fatal chan string // the first fatal line, buffered
}

func newLogger(log *slog.Logger) *logger {
	return &logger{log: log.With("component", "nats-server"), fatal: make(chan string, 1)}
}

func (l *logger) Noticef(string, ...any) {}
func (l *logger) Debugf(string, ...any)  {}
func (l *logger) Tracef(string, ...any)  {}

func (l *logger) Warnf(format string, v ...any)  { l.line(slog.LevelWarn, format, v) }
func (l *logger) Errorf(format string, v ...any) { l.line(slog.LevelError, format, v) }

func (l *logger) Fatalf(format string, v ...any) {
	l.once.Do(func() { l.fatal <- fmt.Sprintf(format, v...) })
}

func (l *logger) line(level slog.Level, format string, v []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "NATS within this process says", "text", fmt.Sprintf(format, v...))
	}
}
