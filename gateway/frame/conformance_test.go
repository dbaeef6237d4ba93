package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// conformance is a case of a client's bytes and of what must come out of them. Names and groups follow the Autobahn test suite.
type conformance struct {
	name   string
	limits Limits
	in     [][]byte // joined
	want   []string // an error as its number only
	state  string   // of the Reader afterwards; "" is idle after frames, ended after an error or a close frame
}

func TestConformance(t *testing.T) {
	for _, group := range [][]conformance{
		framing(), pings(), reservedBits(), opcodes(), fragmentation(), text(), closes(), limits(), lengths(), masking(),
	} {
		for _, c := range group {
			t.Run(c.name, c.run)
		}
	}
}

// run feeds the case whole, byte by byte, cut in two at every place, and cut at random.
func (c conformance) run(t *testing.T) {
	t.Parallel()
	rs := NewReaders(c.limits)
	in := bytes.Join(c.in, nil)
	state := c.state
	if state == "" {
		state = "idle"
		if last := c.want[len(c.want)-1]; strings.HasPrefix(last, "error") || strings.HasPrefix(last, "close") {
			state = "ended"
		}
	}
	check := func(how string, parts [][]byte) {
		t.Helper()
		got, gotState := read(t, rs, parts)
		for i := range got {
			if strings.HasPrefix(got[i], "error") {
				got[i] = got[i][:len("error 1002")]
			}
		}
		if !slices.Equal(got, c.want) || gotState != state {
			t.Fatalf("%s:\n got %q, Reader %s\nwant %q, Reader %s", how, got, gotState, c.want, state)
		}
	}
	check("whole", split(in))
	check("byte by byte", eachByte(in))
	for i := 0; i <= len(in); i++ {
		// Long payloads are cut at their two ends, and here and there between.
		if i < 300 || i > len(in)-300 || i%2003 == 0 {
			check(fmt.Sprintf("cut at %d", i), split(in, i))
		}
	}
	rnd := rand.New(rand.NewPCG(1, uint64(len(in))))
	for range 50 {
		cuts := randomCuts(rnd, len(in))
		check(fmt.Sprintf("cut at %v", cuts), split(in, cuts...))
	}
	if want := reference(in, c.limits); !slices.Equal(want, c.want) {
		t.Fatalf("the reference parser says %q, want %q", want, c.want)
	}
}

func eachByte(b []byte) [][]byte {
	var parts [][]byte
	for i := range b {
		parts = append(parts, b[i:i+1])
	}
	return parts
}

func randomCuts(rnd *rand.Rand, n int) []int {
	cuts := make([]int, rnd.IntN(8))
	for i := range cuts {
		cuts[i] = rnd.IntN(n + 1)
	}
	slices.Sort(cuts)
	return cuts
}

var big = Limits{MaxSize: 1 << 20}

// shown is what comes out for a payload of n bytes.
func shown(op byte, payload string) string { return show(opOf(op), []byte(payload)) }

func framing() (cs []conformance) {
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		s := strings.Repeat("*", n)
		cs = append(cs,
			conformance{fmt.Sprintf("1.1.%d text of %d bytes", i+1, n), big, [][]byte{client(opText, s)}, []string{shown(opText, s)}, ""},
			conformance{fmt.Sprintf("1.2.%d binary of %d bytes", i+1, n), big, [][]byte{client(opBinary, s)}, []string{shown(opBinary, s)}, ""})
	}
	hello := client(opText, "Hello")
	return append(cs,
		// RFC 6455, 5.7: "A single-frame masked text message".
		conformance{"1.3 the RFC's example", Limits{}, [][]byte{{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}},
			[]string{`text "Hello"`}, ""},
		conformance{"1.4 three in one segment", Limits{}, [][]byte{hello, client(opText, ""), hello},
			[]string{`text "Hello"`, `text ""`, `text "Hello"`}, ""},
		conformance{"1.5 nothing", Limits{}, nil, nil, "idle"},
		conformance{"1.6 half a header", Limits{}, [][]byte{hello, hello[:1]}, []string{`text "Hello"`}, "inside"},
		conformance{"1.7 a header without its mask", Limits{}, [][]byte{hello[:4]}, nil, "inside"},
		conformance{"1.8 half a payload", Limits{}, [][]byte{hello[:9]}, nil, "inside"},
		conformance{"1.9 a first fragment, empty", Limits{}, [][]byte{client(textStart, "")}, nil, "inside"},
	)
}

func pings() (cs []conformance) {
	raw := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	long := strings.Repeat("\xfe", 125)
	ten, pongs := [][]byte{}, []string{}
	for i := range 10 {
		p := fmt.Sprintf("payload-%d", i)
		ten, pongs = append(ten, client(opPing, p)), append(pongs, shown(opPing, p))
	}
	return []conformance{
		{"2.1 ping without payload", Limits{}, [][]byte{client(opPing, "")}, []string{`ping ""`}, ""},
		{"2.2 ping with text", Limits{}, [][]byte{client(opPing, "Hello")}, []string{`ping "Hello"`}, ""},
		{"2.3 ping that is no UTF-8", Limits{}, [][]byte{client(opPing, raw)}, []string{shown(opPing, raw)}, ""},
		{"2.4 ping of 125 bytes", Limits{}, [][]byte{client(opPing, long)}, []string{shown(opPing, long)}, ""},
		{"2.5 ping of 126 bytes", Limits{}, [][]byte{client(opPing, long+"\xfe")}, []string{"error 1002"}, ""},
		{"2.7 pong nobody asked for", Limits{}, [][]byte{client(opPong, "")}, []string{`pong ""`}, ""},
		{"2.8 pong with payload", Limits{}, [][]byte{client(opPong, "x")}, []string{`pong "x"`}, ""},
		{"2.9 pong, ping", Limits{}, [][]byte{client(opPong, "a"), client(opPing, "b")}, []string{`pong "a"`, `ping "b"`}, ""},
		{"2.10 ten pings", Limits{}, ten, pongs, ""},
	}
}

func reservedBits() (cs []conformance) {
	good := client(opText, "Hello")
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []byte{opText, opBinary, opPing, opClose, opPong} {
			cs = append(cs, conformance{fmt.Sprintf("3.%d bits on opcode %d", rsv, op&0x0f), Limits{},
				[][]byte{good, client(op|rsv<<4, ""), good}, []string{`text "Hello"`, "error 1002"}, ""})
		}
	}
	return append(cs, conformance{"3.8 bit on a continuation", Limits{}, [][]byte{client(textStart, "a"), client(goesEnd|0x40, "b")},
		[]string{"error 1002"}, ""})
}

func opcodes() (cs []conformance) {
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		for _, p := range []string{"", "reserved"} {
			cs = append(cs, conformance{fmt.Sprintf("4.%d opcode with %q", op, p), Limits{},
				[][]byte{client(opText, "Hello"), client(0x80|op, p), client(opPing, "")}, []string{`text "Hello"`, "error 1002"}, ""})
		}
	}
	return cs
}

func fragmentation() (cs []conformance) {
	join := func(b ...[]byte) [][]byte { return b }
	var bytewise [][]byte
	for i, c := range []byte("fragments") {
		b0 := byte(goesOn)
		if i == 0 {
			b0 = textStart
		}
		bytewise = append(bytewise, client(b0, string(c)), client(opPing, ""))
	}
	want := slices.Repeat([]string{`ping ""`}, 9)
	bytewise, want = append(bytewise, client(goesEnd, "")), append(want, `text "fragments"`)
	p125 := strings.Repeat("p", 125)
	half := strings.Repeat("h", 2048)
	return []conformance{
		{"5.1 ping in two fragments", Limits{}, join(client(0x09, "fragment1"), client(goesEnd, "fragment2")), []string{"error 1002"}, ""},
		{"5.2 pong in two fragments", Limits{}, join(client(0x0a, "fragment1"), client(goesEnd, "fragment2")), []string{"error 1002"}, ""},
		{"5.2b close in two fragments", Limits{}, join(client(0x08, "")), []string{"error 1002"}, ""},
		{"5.3 text in two fragments", Limits{}, join(client(textStart, "fragment1"), client(goesEnd, "fragment2")),
			[]string{`text "fragment1fragment2"`}, ""},
		{"5.3b binary in two fragments", Limits{}, join(client(binStart, "\xff"), client(goesEnd, "\xfe")), []string{`binary "\xff\xfe"`}, ""},
		{"5.6 ping between fragments", Limits{}, join(client(textStart, "fragment1"), client(opPing, "ping"), client(goesEnd, "fragment2")),
			[]string{`ping "ping"`, `text "fragment1fragment2"`}, ""},
		{"5.7 ping between every byte", Limits{}, bytewise, want, ""},
		{"5.8 full ping amid a full message", Limits{}, join(client(textStart, half), client(opPing, p125), client(goesEnd, half)),
			[]string{shown(opPing, p125), shown(opText, half+half)}, ""},
		{"5.9 continuation of nothing, last", Limits{}, join(client(goesEnd, "non-continuation"), client(opText, "Hello")), []string{"error 1002"}, ""},
		{"5.12 continuation of nothing, not last", Limits{}, join(client(goesOn, "non-continuation")), []string{"error 1002"}, ""},
		{"5.15 continuation after the end", Limits{}, join(client(textStart, "a"), client(goesEnd, "b"), client(goesOn, "c"), client(opText, "d")),
			[]string{`text "ab"`, "error 1002"}, ""},
		{"5.18 text amid a text", Limits{}, join(client(textStart, "fragment1"), client(opText, "fragment2")), []string{"error 1002"}, ""},
		{"5.18b binary amid a text", Limits{}, join(client(textStart, "fragment1"), client(binStart, "fragment2")), []string{"error 1002"}, ""},
		{"5.19 pings amid five fragments", Limits{}, join(client(textStart, "1"), client(goesOn, "2"), client(opPing, "a"), client(goesOn, "3"),
			client(goesOn, "4"), client(opPing, "b"), client(goesEnd, "5")), []string{`ping "a"`, `ping "b"`, `text "12345"`}, ""},
		{"5.21 empty fragments around one byte", Limits{}, join(client(textStart, ""), client(goesOn, ""), client(goesOn, "x"), client(goesEnd, "")),
			[]string{`text "x"`}, ""},
		{"5.22 nothing but empty fragments", Limits{}, join(client(textStart, ""), client(goesOn, ""), client(goesEnd, "")), []string{`text ""`}, ""},
		{"5.23 two fragmented messages", Limits{}, join(client(textStart, "a"), client(goesEnd, "b"), client(binStart, "c"), client(goesEnd, "d")),
			[]string{`text "ab"`, `binary "cd"`}, ""},
		{"5.24 close between fragments", Limits{}, join(client(textStart, "a"), closing(1000, ""), client(goesEnd, "b")), []string{`close 1000 ""`}, ""},
	}
}

func text() (cs []conformance) {
	good := []string{
		"Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\u0080", "\u0800", "\U00010000", "\x7f", "\u07ff", "\uffff", "\U0010ffff",
		"\ud7ff", "\ue000", "\ufffd", "\ufeff", "来自后台的反馈:连接成功", strings.Repeat("ü", 2048),
	}
	for i, s := range good {
		cs = append(cs, conformance{fmt.Sprintf("6.2.%d good %.20q", i+1, s), Limits{}, [][]byte{client(opText, s)}, []string{shown(opText, s)}, ""})
		at := len(s) / 2
		cs = append(cs, conformance{fmt.Sprintf("6.2.%d good in fragments %.20q", i+1, s), Limits{},
			[][]byte{client(textStart, s[:at]), client(opPing, "\xff"), client(goesEnd, s[at:])}, []string{`ping "\xff"`, shown(opText, s)}, ""})
	}
	bad := []string{
		"κόσμε\xed\xa0\x80edited", "\x80", "\xbf", "\x80\xbf\x80", "\xc0 ", "\xc3", "\xe0 ", "\xe1\x80", "\xf0\x90\x80", "\xf8\x88\x80\x80\x80",
		"\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf", "a\xffb",
		strings.Repeat("a", 40) + "\xff", "κόσμ\xce",
	}
	for i, s := range bad {
		cs = append(cs,
			conformance{fmt.Sprintf("6.3.%d bad %q", i+1, s), Limits{}, [][]byte{client(opText, s), client(opText, "")}, []string{"error 1007"}, ""},
			conformance{fmt.Sprintf("6.3.%d bad in fragments %q", i+1, s), Limits{},
				[][]byte{client(textStart, s[:1]), client(goesOn, s[1:]), client(goesEnd, "")}, []string{"error 1007"}, ""},
			conformance{fmt.Sprintf("6.3.%d binary %q", i+1, s), Limits{}, [][]byte{client(opBinary, s)}, []string{shown(opBinary, s)}, ""})
	}
	// The bad byte is answered when it arrives, not when its message ends.
	early := client(opText, "κόσμε\xf4\x90\x80\x80edited")
	bare := func(n int) [][]byte { return [][]byte{early[:6+n]} }
	return append(cs,
		conformance{"6.4.1 bad first fragment", Limits{}, [][]byte{client(textStart, "κόσμε\xf4\x90\x80\x80")}, []string{"error 1007"}, ""},
		conformance{"6.4.2 bad as soon as F4 90", Limits{}, bare(len("κόσμε\xf4\x90")), []string{"error 1007"}, ""},
		conformance{"6.4.3 not bad yet at F4", Limits{}, bare(len("κόσμε\xf4")), nil, "inside"},
		conformance{"6.4.4 a character over three fragments", Limits{},
			[][]byte{client(textStart, "\xf0"), client(goesOn, "\x9f"), client(goesOn, "\x98"), client(goesEnd, "\x80!")}, []string{`text "😀!"`}, ""},
		conformance{"6.4.5 a character cut by the end", Limits{}, [][]byte{client(textStart, "a"), client(goesEnd, "\xf0\x9f\x98")}, []string{"error 1007"}, ""},
		conformance{"6.4.6 a character does not span messages", Limits{}, [][]byte{client(opText, "\xc3"), client(opText, "\xa4")}, []string{"error 1007"}, ""},
	)
}

func closes() (cs []conformance) {
	hello := client(opText, "Hello")
	cs = []conformance{
		{"7.1.1 text, close", Limits{}, [][]byte{hello, closing(1000, "")}, []string{`text "Hello"`, `close 1000 ""`}, ""},
		{"7.1.2 two closes", Limits{}, [][]byte{closing(1000, ""), closing(1000, "")}, []string{`close 1000 ""`}, ""},
		{"7.1.3 ping after close", Limits{}, [][]byte{closing(1000, ""), client(opPing, "")}, []string{`close 1000 ""`}, ""},
		{"7.1.4 text after close", Limits{}, [][]byte{closing(1000, ""), hello}, []string{`close 1000 ""`}, ""},
		{"7.1.6 garbage after close", Limits{}, [][]byte{closing(1000, ""), bytes.Repeat([]byte{0xff}, 5000)}, []string{`close 1000 ""`}, ""},
		{"7.3.1 no payload", Limits{}, [][]byte{client(opClose, "")}, []string{`close ""`}, ""},
		{"7.3.2 one byte", Limits{}, [][]byte{client(opClose, "a")}, []string{"error 1002"}, ""},
		{"7.3.4 reason", Limits{}, [][]byte{closing(1000, "bye, κόσμε")}, []string{`close 1000 "bye, κόσμε"`}, ""},
		{"7.3.5 reason of 123 bytes", Limits{}, [][]byte{closing(1000, strings.Repeat("*", 123))},
			[]string{fmt.Sprintf(`close 1000 "%s"`, strings.Repeat("*", 123))}, ""},
		{"7.3.6 reason of 124 bytes", Limits{}, [][]byte{closing(1000, strings.Repeat("*", 124))}, []string{"error 1002"}, ""},
		{"7.5.1 reason not UTF-8", Limits{}, [][]byte{closing(1000, "κόσμε\xed\xa0\x80edited")}, []string{"error 1007"}, ""},
		{"7.5.2 reason cut in a character", Limits{}, [][]byte{closing(1000, "\xce")}, []string{"error 1007"}, ""},
		{"7.6 after an error nothing counts", Limits{}, [][]byte{client(0x83, ""), hello, closing(1000, "")}, []string{"error 1002"}, ""},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999} {
		cs = append(cs, conformance{fmt.Sprintf("7.7 code %d", code), Limits{}, [][]byte{closing(code, "x")},
			[]string{fmt.Sprintf(`close %d "x"`, code)}, ""})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 10000, 65535} {
		cs = append(cs, conformance{fmt.Sprintf("7.9 code %d", code), Limits{}, [][]byte{closing(code, "")}, []string{"error 1002"}, ""})
	}
	return cs
}

func limits() []conformance {
	full := strings.Repeat("x", 4096)
	ten := Limits{MaxSize: 10}
	return []conformance{
		{"9.1 as large as allowed", Limits{}, [][]byte{client(opText, full)}, []string{shown(opText, full)}, ""},
		{"9.2 one byte more, header only", Limits{}, [][]byte{clientHeader(opText, 4097)}, []string{"error 1009"}, ""},
		{"9.3 as large as allowed, in fragments", ten, [][]byte{client(textStart, "01234"), client(goesOn, ""), client(goesEnd, "56789")},
			[]string{`text "0123456789"`}, ""},
		{"9.4 one byte more in fragments, header only", ten, [][]byte{client(textStart, "01234"), clientHeader(goesOn, 6)}, []string{"error 1009"}, ""},
		{"9.5 control frames do not count", ten, [][]byte{client(textStart, "01234"), client(opPing, "0123456789"), client(goesEnd, "56789")},
			[]string{`ping "0123456789"`, `text "0123456789"`}, ""},
		{"9.6 the limit is of one message", ten, [][]byte{client(textStart, "01234"), client(goesEnd, "56789"), client(opText, "0123456789"), client(opText, "x")},
			[]string{`text "0123456789"`, `text "0123456789"`, `text "x"`}, ""},
		{"9.7 the largest length there is", big, [][]byte{clientHeader(opText, 1<<63-1)}, []string{"error 1009"}, ""},
		{"9.8 two lengths that overflow", big, [][]byte{client(textStart, "x"), clientHeader(goesOn, 1<<63-1)}, []string{"error 1009"}, ""},
		{"9.9 binary refused by its header", Limits{RefuseBinary: true}, [][]byte{client(opPing, ""), clientHeader(opBinary, 1<<40)},
			[]string{`ping ""`, "error 1003"}, ""},
		{"9.10 fragmented binary refused", Limits{RefuseBinary: true}, [][]byte{clientHeader(binStart, 0)}, []string{"error 1003"}, ""},
		{"9.11 as many fragments as bytes", ten, [][]byte{client(textStart, ""), bytes.Repeat(client(goesOn, "x"), 8), client(goesEnd, "yz")},
			[]string{`text "xxxxxxxxyz"`}, ""},
		{"9.13 fragments are counted by message", ten, [][]byte{bytes.Repeat(append(client(textStart, ""), client(goesEnd, "a")...), 12)},
			slices.Repeat([]string{`text "a"`}, 12), ""},
		{"9.12 empty fragments without end", ten, [][]byte{client(textStart, ""), bytes.Repeat(client(goesOn, ""), 10)}, []string{"error 1008"}, ""},
	}
}

// lengths are the rules of section 5.2 for the length, which Autobahn leaves out.
func lengths() (cs []conformance) {
	long := func(b0, len7 byte, n uint64) [][]byte {
		b := []byte{b0, 0x80 | len7}
		if len7 == 126 {
			b = binary.BigEndian.AppendUint16(b, uint16(n))
		} else {
			b = binary.BigEndian.AppendUint64(b, n)
		}
		return [][]byte{append(b, key[:]...)}
	}
	return []conformance{
		{"11.1 124 as 126, 0, 124", Limits{}, long(opText, 126, 124), []string{"error 1002"}, ""},
		{"11.2 0 in 16 bits", Limits{}, long(opText, 126, 0), []string{"error 1002"}, ""},
		{"11.3 125 in 16 bits", Limits{}, long(opText, 126, 125), []string{"error 1002"}, ""},
		{"11.4 126 in 64 bits", Limits{}, long(opText, 127, 126), []string{"error 1002"}, ""},
		{"11.5 65535 in 64 bits", Limits{}, long(opText, 127, 65535), []string{"error 1002"}, ""},
		{"11.6 highest bit", Limits{}, long(opText, 127, 1<<63|200), []string{"error 1002"}, ""},
		{"11.7 all bits", Limits{}, long(opBinary, 127, 1<<64-1), []string{"error 1002"}, ""},
		{"11.8 ping with a 16-bit length", Limits{}, long(opPing, 126, 5), []string{"error 1002"}, ""},
		{"11.9 ping with a 64-bit length", Limits{}, long(opPing, 127, 5), []string{"error 1002"}, ""},
	}
}

func masking() (cs []conformance) {
	for _, op := range []byte{opText, opBinary, opPing, opPong, opClose} {
		cs = append(cs, conformance{fmt.Sprintf("12.1 unmasked opcode %d", op&0x0f), Limits{},
			[][]byte{client(opText, "Hello"), {op, 0}}, []string{`text "Hello"`, "error 1002"}, ""})
	}
	zero := append([]byte{opText, 0x85, 0, 0, 0, 0}, "Hello"...)
	return append(cs,
		conformance{"12.2 unmasked with payload", Limits{}, [][]byte{append([]byte{opText, 5}, "Hello"...)}, []string{"error 1002"}, ""},
		conformance{"12.3 unmasked continuation", Limits{}, [][]byte{client(textStart, "a"), {goesEnd, 0}}, []string{"error 1002"}, ""},
		conformance{"12.4 a mask of zeros", Limits{}, [][]byte{zero}, []string{`text "Hello"`}, ""})
}
