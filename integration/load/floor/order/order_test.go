package order

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestOrdersThereAndBack(t *testing.T) {
	var b []byte
	for _, index := range []int{0, 18_999, All} {
		b = Append(b, index, 1763852400123456789)
	}
	if len(b) != 3*Size {
		t.Fatalf("got %d bytes, want %d", len(b), 3*Size)
	}
	for _, want := range []int{0, 18_999, All} {
		index, at := Cut(b)
		if index != want || string(at) != "1763852400123456789" {
			t.Errorf("got %d at %s, want %d", index, at, want)
		}
		b = b[Size:]
	}
}

func TestFrameHasItsSizeAndTime(t *testing.T) {
	for _, size := range []int{128, 256, 4096} {
		f := NewFrame(size)
		f.Set([]byte("1763852400123456789"))
		var text struct{ At string }
		if err := json.Unmarshal(f.Bytes[4:], &text); err != nil || text.At != "1763852400123456789" {
			t.Errorf("got %q, %v", text.At, err)
		}
		if head := f.Bytes[:4]; !bytes.Equal(head, []byte{0x81, 126, byte(size >> 8), byte(size)}) || len(f.Bytes) != size+4 {
			t.Errorf("got the head % x before %d bytes, want %d", head, len(f.Bytes)-4, size)
		}
	}
}
