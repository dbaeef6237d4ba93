package loadgen

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Reader is for one who reads in the place of tabs: it counts what it is given as tabs do, and answers as a process of a Fleet
// does. Its zero value is ready.
type Reader struct {
	mu    sync.Mutex
	tally // Guarded by mu.
}

// Read counts data that carries a time of sending, and was read at a time.
func (r *Reader) Read(data []byte, now time.Time) {
	at, ok := stamp(data)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delivered(at, now.UnixNano())
}

// Serve answers what the Fleet of StartReader asks, and ends, without an error, when in does.
func (r *Reader) Serve(in io.Reader, out io.Writer) error {
	lines, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var c command
		if lines.Decode(&c) != nil { // the parent has closed its end, or died
			return nil
		}
		answer, err := r.do(c)
		if err == nil {
			err = answers.Encode(answer)
		}
		if err != nil {
			return err
		}
	}
}

func (r *Reader) do(c command) (answer Report, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch c.Do {
	case "open": // as many as the reader stands for
		r.report.Open = c.Tabs
	case "reset":
		r.forget()
	case "report":
	default:
		return answer, fmt.Errorf("a reader was told to %q, which only tabs can", c.Do)
	}
	answer = r.report
	if c.Do == "report" && !c.Light {
		answer.Ways = r.histogram()
	}
	return answer, nil
}
