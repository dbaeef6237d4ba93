package control

import (
	"strings"
	"testing"
	"time"
)

func TestParseShed(t *testing.T) {
	for text, want := range map[string]struct {
		of   int // of 200
		over time.Duration
		bad  string
	}{
		`{"gateway":"a:1","share":0.25}`:          {50, DefaultOver, ""},
		`{"sessions":300,"over":"5s"}`:            {200, 5 * time.Second, ""},
		`{"share":1}`:                             {200, DefaultOver, ""},
		`{}`:                                      {bad: "either"},
		`{"share":1,"sessions":1}`:                {bad: "either"},
		`{"share":1.5}`:                           {bad: "between 0 and 1"},
		`{"sessions":-1}`:                         {bad: "at least 1"},
		`{"sessions":1,"over":"0s"}`:              {bad: "over"},
		`{"sessions":1,"over":"soon"}`:            {bad: "over"},
		`{"gatewy":"a:1","share":1}`:              {bad: "gatewy"},
		`{"share":1} {"share":1}`:                 {bad: "more behind"},
		`[]`:                                      {bad: "JSON object"},
		`{"share":1,` + strings.Repeat(" ", 5000): {bad: "5011 bytes"},
	} {
		s, over, err := ParseShed([]byte(text))
		if want.bad != "" {
			if err == nil || !strings.Contains(err.Error(), want.bad) {
				t.Errorf("%.40s: got %v, want an error with %q", text, err, want.bad)
			}
			continue
		}
		if err != nil || over != want.over || s.Of(200) != want.of {
			t.Errorf("%s: got %d over %v, %v", text, s.Of(200), over, err)
		}
	}
}

// TestBalance: when what is given away comes back as the load balancer does, all have the same.
func TestBalance(t *testing.T) {
	for _, c := range []struct {
		loads []int
		least bool
	}{
		{[]int{37, 28, 16}, false}, {[]int{37, 28, 16}, true}, {[]int{100, 0, 0}, false}, {[]int{100, 0, 0}, true}, {[]int{5, 5, 5}, false}, {[]int{7}, false}, {nil, false},
	} {
		var loads []Load
		sum := 0
		for i, n := range c.loads {
			loads = append(loads, Load{Gateway: string(rune('a' + i)), Sessions: n})
			sum += n
		}
		loads = append(loads, Load{Gateway: "z", Sessions: 1000, Leaving: true}) // does not count
		moved := 0
		for _, s := range Balance(loads, c.least) {
			for i := range loads {
				if loads[i].Gateway == s.Gateway {
					loads[i].Sessions -= s.Sessions
					moved += s.Sessions
				}
			}
		}
		loads = loads[:len(loads)-1]
		for i := range moved {
			to := i % len(loads)
			if c.least {
				for k := range loads {
					if loads[k].Sessions < loads[to].Sessions {
						to = k
					}
				}
			}
			loads[to].Sessions++
		}
		for _, l := range loads {
			if d := l.Sessions*len(loads) - sum; d > len(loads) || d < -len(loads) {
				t.Errorf("%v, least connections %v: got %+v in the end", c.loads, c.least, loads)
			}
		}
	}
}

func TestCommandMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"shed a:1":              "shed needs",
		"shed a:1 many":         "shed needs",
		"shed a:1 %":            "shed needs",
		"shed a:1 0%":           "either",
		"shed a:1 150%":         "between 0 and 1",
		"shed a:1 5 --over 1y":  "over",
		"shed --over":           "argument",
		"balance now":           "no arguments",
		"balance --over -3s":    "over",
		"revoke":                "needs a user",
		"revoke alice bob":      "needs a user",
		"revoke --user alice":   "needs a user",
		"revoke -h":             "needs a user",
		"shed --what a:1 20%":   "not defined",
		"frobnicate everything": "unknown",
	} {
		if _, err := Command(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", line, err, want)
		}
	}
	for _, line := range []string{"shed", "shed all 20%", "shed a:1 500 --over 10s", "shed --over 10s a:1 5", "balance", "balance --least-connections --over 1m", "revoke alice"} {
		if _, err := Command(strings.Fields(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"user":"alice"}`, `{"gateway":"a:1","share":0.25,"over":"30s"}`, `{"sessions":1}`, `null`, `{"share":1e400}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRevocation(b); err == nil && r.User == "" {
			t.Error("a revocation of nobody")
		}
		if s, over, err := ParseShed(b); err == nil {
			if n := s.Of(1000); n < 0 || n > 1000 || over <= 0 || over > LongestOver {
				t.Errorf("%d of 1,000 over %v", n, over)
			}
		}
	})
}
