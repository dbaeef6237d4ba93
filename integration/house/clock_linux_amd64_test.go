package house

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

const clockVariable = "HOUSE_TEST_CLOCK"

// The tests' own program is the process whose clock is set: for each byte that it reads it says what time it is, and how long it runs.
func TestMain(m *testing.M) {
	if os.Getenv(clockVariable) == "" {
		os.Exit(m.Run())
	}
	began := time.Now()
	for b := make([]byte, 1); ; {
		if _, err := os.Stdin.Read(b); err != nil {
			os.Exit(0)
		}
		fmt.Println(time.Now().Unix(), int64(time.Since(began)))
	}
}

func TestShiftClock(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), clockVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers := io.Pipe()
	defer out.Close()
	p := run(t, "clock", cmd, nil)
	p.out.mu.Lock()
	p.out.line = func(text string) { fmt.Fprintln(answers, text) }
	p.out.mu.Unlock()
	read := bufio.NewReader(out)
	var before int64
	for _, d := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		if err := p.ShiftClock(d); err != nil {
			t.Fatal(err)
		}
		var wall, running int64
		if _, err := in.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fscanln(read, &wall, &running); err != nil {
			t.Fatal(err)
		}
		if got := time.Until(time.Unix(wall, 0)); got > d+time.Second || got < d-2*time.Second {
			t.Errorf("its clock is ahead by %v, want %v", got, d)
		}
		if running < before || time.Duration(running) > time.Minute {
			t.Errorf("it runs for %v, before that for %v: its monotonic clock jumped too", time.Duration(running), time.Duration(before))
		}
		before = running
	}
}
