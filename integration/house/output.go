package house

import (
	"bytes"
	"strings"
	"sync"
)

// keptLines is how much of a long output is kept: its end tells most.
const keptLines = 2000

// output takes what a process writes, line by line.
type output struct {
	line func(string) // called for each line, while mu is held; may be nil

	mu    sync.Mutex // guards the following
	rest  []byte     // an unfinished line
	lines []string
	bad   []string // signs of a data race or a panic
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, b...)
	for {
		i := bytes.IndexByte(o.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		o.take(string(o.rest[:i]))
		o.rest = o.rest[i+1:]
	}
}

func (o *output) take(line string) {
	if o.lines = append(o.lines, line); len(o.lines) > 2*keptLines {
		o.lines = append([]string(nil), o.lines[keptLines:]...)
	}
	for _, sign := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", `"panic while`} {
		if strings.Contains(line, sign) {
			o.bad = append(o.bad, line)
		}
	}
	if o.line != nil {
		o.line(line)
	}
}

// text is all that is kept, the unfinished line too.
func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := strings.Join(o.lines, "\n")
	if len(o.lines) > 0 {
		text += "\n"
	}
	return text + string(o.rest)
}

// end is the last n lines.
func (o *output) end(n int) string {
	lines := strings.Split(strings.TrimRight(o.text(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (o *output) signs() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bad
}
