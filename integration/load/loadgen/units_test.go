package loadgen

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// What a connection that is no tab sends is what a tab would.
func TestRequestsAreThoseOfTabs(t *testing.T) {
	c := Config{Targets: []string{"ws://127.0.0.1:1234/ws"}, Subprotocol: "tidings.v1"}
	host, list, err := Requests(c, 5, 2)
	if err != nil || host != "127.0.0.1:1234" || len(list) != 2 {
		t.Fatalf("got %q, %d requests, %v", host, len(list), err)
	}
	for i, b := range list {
		if want := "GET /ws?user=" + User(5+i) + " HTTP/1.1\r\n"; !strings.HasPrefix(string(b), want) || !strings.HasSuffix(string(b), "\r\n\r\n") {
			t.Errorf("got %q, want it to begin with %q", b, want)
		}
	}
}

func TestQuantileIsAtMostThreePercentTooHigh(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	h, values := Histogram{}, []int64(nil)
	for range 20_000 {
		v := int64(1) << random.IntN(36)
		v += random.Int64N(v)
		values = append(values, v)
		h.Add(v)
	}
	slices.Sort(values)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 1} {
		want := values[int(q*float64(len(values))+0.5)-1]
		if got := h.Quantile(q); got < want || float64(got) > 1.032*float64(want) {
			t.Errorf("quantile %v: got %d, want %d or up to 3 %% more", q, got, want)
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	if got := (Histogram{}).Quantile(0.5); got != 0 {
		t.Errorf("of nothing: got %d, want 0", got)
	}
	for _, v := range []int64{0, 1, 31, 32, 33, 63, 64, 1<<20 - 1, 1 << 20, 1 << 43} {
		if b := bucket(v); upper(b) < v || b > 0 && upper(b-1) >= v {
			t.Errorf("%d is in bucket %d, which ends at %d", v, b, upper(b))
		}
	}
	if got := bucket(-5); got != 0 {
		t.Errorf("a way that ends before it begins: got bucket %d, want 0", got)
	}
}

// The counts of several processes travel as JSON and are put together.
func TestReportsMerge(t *testing.T) {
	a := Report{Open: 2, Deliveries: 2, First: 10, Last: 30, Max: 7, Ways: Histogram{3: 1, 7: 1}, Tabs: map[int]int{1: 2}}
	b := Report{Open: 3, Failed: 1, Resets: 1, Deliveries: 1, First: 5, Last: 20, Max: 9, Ways: Histogram{7: 2}, Tabs: map[int]int{0: 2, 1: 1}, Error: "gone"}
	line, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	b = Report{}
	if err := json.Unmarshal(line, &b); err != nil {
		t.Fatal(err)
	}
	var sum Report
	sum.merge(a)
	sum.merge(b)
	sum.merge(Report{}) // a process without tabs has neither a first nor a last
	got, _ := json.Marshal(sum)
	want := `{"Open":5,"Failed":1,"Resets":1,"Deliveries":3,"First":5,"Last":30,"Max":9,"Ways":{"3":1,"7":3},"Tabs":{"0":2,"1":3},"Error":"gone"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := sum.err(); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v, want an error that names what went wrong", err)
	}
}

func TestStamp(t *testing.T) {
	for _, c := range []struct {
		name, text string
		at         int64
		ok         bool
	}{
		{"alone", `{"at":"1763852400123456789"}`, 1763852400123456789, true},
		{"within", `{"type":"notification","data":{"userId":"u","at":"17","text":"x"}}`, 17, true},
		{"a heartbeat", `{"cursor":"0.1.2"}`, 0, false},
		{"not a number", `{"at":"noon"}`, 0, false},
		{"empty", `{"at":""}`, 0, false},
		{"too large", `{"at":"99999999999999999999"}`, 0, false},
		{"cut off", `{"at":"123`, 0, false},
	} {
		if at, ok := stamp([]byte(c.text)); at != c.at || ok != c.ok {
			t.Errorf("%s: got %d %v, want %d %v", c.name, at, ok, c.at, c.ok)
		}
	}
	if at, ok := stamp(Stamp(nil, 42)); at != 42 || !ok {
		t.Errorf("there and back: got %d %v, want 42", at, ok)
	}
}

func TestCutFrame(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name    string
		b       string
		op      byte
		payload string
		size    int
		err     error
	}{
		{"nothing", "", 0, "", 0, nil},
		{"half a head", "\x81", 0, "", 0, nil},
		{"text", "\x81\x02hi+", opText, "hi", 4, nil},
		{"half a payload", "\x81\x02h", 0, "", 0, nil},
		{"two bytes of length", "\x81\x7e\x01\x2c" + long, opText, long, 304, nil},
		{"half a length", "\x81\x7e\x01", 0, "", 0, nil},
		{"eight bytes of length", "\x81\x7f\x00\x00\x00\x00\x00\x00\x01\x2c" + long, opText, long, 310, nil},
		{"too large", "\x81\x7f\x00\x00\x00\x00\x00\x20\x00\x00", 0, "", 0, errFrame},
		{"masked", "\x81\x82abcdhi", 0, "", 0, errFrame},
		{"fragment", "\x01\x02hi", 0, "", 0, errFrame},
		{"ping", "\x89\x00", opPing, "", 2, nil},
	} {
		op, payload, size, err := cutFrame([]byte(c.b))
		if op != c.op || string(payload) != c.payload || size != c.size || err != c.err {
			t.Errorf("%s: got %d %q %d %v, want %d %q %d %v", c.name, op, payload, size, err, c.op, c.payload, c.size, c.err)
		}
	}
}

// Whatever a server sends, cutFrame stays within it.
func FuzzCutFrame(f *testing.F) {
	for _, s := range []string{"\x81\x02hi", "\x81\x7e\x01\x2c", "\x88\x02\x03\xe8", "\x89\x7f\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, payload, size, err := cutFrame(b)
		if size < 0 || size > len(b) || len(payload) > size || err != nil && size != 0 {
			t.Errorf("got payload of %d, size %d, error %v of %d bytes", len(payload), size, err, len(b))
		}
		stamp(payload)
		if size, err := checkAnswer(b); size < 0 || size > len(b) || err != nil && size != 0 {
			t.Errorf("checkAnswer: got %d, %v of %d bytes", size, err, len(b))
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Targets: []string{"ws://127.0.0.1:8080/ws"}, Users: 1, Rate: 1, Of: 1}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"TLS":        func(c *Config) { c.Targets = append(c.Targets, "wss://example.com/ws") },
		"no host":    func(c *Config) { c.Targets = append(c.Targets, "/ws") },
		"nonsense":   func(c *Config) { c.Targets = append(c.Targets, "ws://[") },
		"no target":  func(c *Config) { c.Targets = nil },
		"no users":   func(c *Config) { c.Users = 0 },
		"no rate":    func(c *Config) { c.Rate = 0 },
		"no process": func(c *Config) { c.Of = 0 },
	} {
		bad := good
		bad.Targets = slices.Clone(good.Targets)
		change(&bad)
		if err := bad.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRequest(t *testing.T) {
	const user = "00000000-0000-4000-8000-000000000007"
	for _, c := range []struct{ name, target, secret, cursor, line string }{
		{"development mode", "ws://h:1/ws", "", "", "GET /ws?user=" + user + " HTTP/1.1\r\n"},
		{"a query is kept", "ws://h:1/ws?x=1", "", "", "GET /ws?x=1&user=" + user + " HTTP/1.1\r\n"},
		{"token", "ws://h:1/ws?x=1", "secret", "", "GET /ws?x=1 HTTP/1.1\r\n"},
		{"token alone", "ws://h:1/ws", "secret", "", "GET /ws HTTP/1.1\r\n"},
		{"a cursor", "ws://h:1/ws", "secret", "0.a+.7", "GET /ws?cursor=0.a%2B.7 HTTP/1.1\r\n"},
		{"all of it", "ws://h:1/ws?x=1", "", "0.1.7", "GET /ws?x=1&user=" + user + "&cursor=0.1.7 HTTP/1.1\r\n"},
	} {
		h, err := newHandshake(&Config{Targets: []string{c.target}, Secret: c.secret, Subprotocol: "tidings.v1"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time, the token is there
			b, err := h.request(7, []byte(c.cursor))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(b, []byte(c.line)) || !bytes.HasSuffix(b, endOfHead) || bytes.Count(b, endOfHead) != 1 {
				t.Errorf("%s: got %q, want it to begin with %q", c.name, b, c.line)
			}
			if got, want := bytes.Contains(b, []byte("\r\nAuthorization: Bearer ey")), c.secret != ""; got != want {
				t.Errorf("%s: token: got %v, want %v", c.name, got, want)
			}
		}
	}
}

func TestCursorIsTheLastOneGiven(t *testing.T) {
	var c cursor
	for _, step := range []struct{ text, want string }{
		{`{"type":"welcome","cursor":"0.1.2","resume":"none"}`, "0.1.2"},
		{`{"type":"notification","cursor":"0.1.3","data":{"cursor":"x"}}`, "0.1.3"},
		{`{"type":"notification","data":{}}`, "0.1.3"},
		{`{"cursor":"cut`, "0.1.3"},
		{`{"cursor":"` + strings.Repeat("9", 56) + `"}`, "0.1.3"},
		{`{"cursor":"0.1.4"}`, "0.1.4"},
	} {
		if c.from([]byte(step.text)); string(c.bytes()) != step.want {
			t.Errorf("after %s: got %q, want %q", step.text, c.bytes(), step.want)
		}
	}
}
