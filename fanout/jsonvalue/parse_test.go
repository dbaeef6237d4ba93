package jsonvalue

import (
	"reflect"
	"strings"
	"testing"
)

var jsonTexts = []string{
	`{"userId":"alice","at":1764000000000000000,"text":"hello","more":{"a":[1,2.5,-3e2,"x"],"b":null,"c":true,"d":false}}`,
	` [ ] `, `{}`, "\t{ \"a\" :\r\n1 , \"a\" : 2 }", `""`, `"\u00e9\n\"\\\/\ud83d\ude00\ud800"`, `"é😀"`, "\"\xff\xfe\xc3\"", `{"\u0061":1,"a":2}`,
	`0`, `-0`, `-`, `01`, `1.`, `.5`, `1e`, `1e+`, `1E-2`, `1e400`, `-1e400`, `18446744073709551615`, `18446744073709551616`, `-9223372036854775808`, `0.1e1x`,
	`tru`, `true1`, `nul`, `null `, ``, ` `, "\x00", "1\x00", "\"\x01\"", `"a`, `"a\`, `"\x"`, `"\u12"`, `[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1,}`,
	`1 2`, `{} []`, strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
}

// checkParse: what the parser takes, encoding/json takes for the same.
func checkParse(t *testing.T, text string) {
	t.Helper()
	want, err := decodeSlowly([]byte(text))
	got, ok := parse([]byte(text))
	switch {
	case ok != (err == nil):
		t.Errorf("%.100q: taken: got %v, want %v (%v)", text, ok, err == nil, err)
	case ok && !reflect.DeepEqual(got, want):
		t.Errorf("%.100q: got %#v, want %#v", text, got, want)
	}
}

func TestParse(t *testing.T) {
	for _, text := range jsonTexts {
		checkParse(t, text)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add(text)
	}
	f.Fuzz(checkParse)
}
