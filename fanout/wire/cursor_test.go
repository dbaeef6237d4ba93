package wire

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestCursor(t *testing.T) {
	tests := []struct {
		cursor Cursor
		text   string
	}{
		{Cursor{0, 0, 0}, "0.0.0"},
		{Cursor{0, 1767322245678, 1042}, "0.mjwa18a6.1042"},
		{Cursor{63, 35, 7}, "63.z.7"},
		{Cursor{65535, math.MaxUint64, math.MaxUint64}, "65535.3w5e11264sgsf.18446744073709551615"},
	}
	for _, tt := range tests {
		if got := tt.cursor.String(); got != tt.text {
			t.Errorf("%+v: got %q, want %q", tt.cursor, got, tt.text)
		}
		if got, err := ParseCursor(tt.text); err != nil || got != tt.cursor {
			t.Errorf("%q: got %+v (%v), want %+v", tt.text, got, err, tt.cursor)
		}
	}
}

func TestParseCursorRefuses(t *testing.T) {
	for _, s := range []string{
		"", ".", "..", "0.0", "0.0.0.0", "0.0.", ".0.0", "0..0", " 0.0.0", "0.0.0\n", "00.0.0", "0.01.0", "0.0.01", "+0.0.0", "0.0.-1",
		"0.A.0", "0._.0", "65536.0.0", "0.3w5e11264sgsg.0", "0.0.18446744073709551616", "0.0." + strings.Repeat("0", 64), "０.0.0",
	} {
		if c, err := ParseCursor(s); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: got %+v, %v, want ErrCursor", s, c, err)
		}
	}
}

// FuzzCursor: only the text that String gives is accepted.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"0.0.0", "0.mjwa18a6.1042", "65535.3w5e11264sgsf.18446744073709551615", "00.0.0", "0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		switch {
		case err != nil && !errors.Is(err, ErrCursor):
			t.Fatalf("got %v, want an error that wraps ErrCursor", err)
		case err == nil && c.String() != s:
			t.Fatalf("got %q for %q", c.String(), s)
		}
	})
}
