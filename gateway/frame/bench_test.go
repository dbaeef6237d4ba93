package frame

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// A segment of 64 masked texts of 64 bytes; every contender copies it first, as the kernel would into its buffer, and
// checks the text.
var (
	benchText    = `{"type":"auth","token":"0123456789012345678901234567890123456"}` + "\n"
	benchFrames  = 64
	benchSegment = bytes.Repeat(client(opText, benchText), benchFrames)
)

func perFrame(b *testing.B) {
	b.ReportMetric(float64(b.N)*float64(benchFrames)/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(benchFrames), "ns/frame")
}

func BenchmarkRead(b *testing.B) {
	segment := make([]byte, len(benchSegment))
	b.Run("frame", func(b *testing.B) {
		r := NewReaders(Limits{}).Get()
		b.ReportAllocs()
		for b.Loop() {
			copy(segment, benchSegment)
			n := 0
			for f, err := range r.Frames(segment) {
				if err != nil || len(f.Payload) != 64 {
					b.Fatal(f, err)
				}
				n++
			}
			if n != benchFrames || !r.Idle() {
				b.Fatal(n)
			}
		}
		perFrame(b)
	})
	b.Run("frame-split", func(b *testing.B) { // every frame in two pieces
		rs := NewReaders(Limits{})
		b.ReportAllocs()
		for b.Loop() {
			copy(segment, benchSegment)
			n, size := 0, len(segment)/benchFrames
			r := rs.Get()
			for i := range benchFrames {
				whole := segment[i*size : (i+1)*size]
				for _, part := range [][]byte{whole[:40], whole[40:]} {
					for f, err := range r.Frames(part) {
						if err != nil || len(f.Payload) != 64 {
							b.Fatal(f, err)
						}
						n++
					}
				}
			}
			rs.Put(r)
			if n != benchFrames {
				b.Fatal(n)
			}
		}
		perFrame(b)
	})
	b.Run("ws.ReadFrame", func(b *testing.B) {
		rd := bytes.NewReader(nil)
		b.ReportAllocs()
		for b.Loop() {
			copy(segment, benchSegment)
			rd.Reset(segment)
			for range benchFrames {
				//lint:ignore SA1019 what people use, and so what we measure against
				f, err := ws.ReadFrame(rd)
				if err != nil {
					b.Fatal(err)
				}
				if err := ws.CheckHeader(f.Header, ws.StateServerSide); err != nil {
					b.Fatal(err)
				}
				if f = ws.UnmaskFrameInPlace(f); !utf8.Valid(f.Payload) {
					b.Fatal(f)
				}
			}
		}
		perFrame(b)
	})
	b.Run("wsutil.Reader", func(b *testing.B) {
		rd := bytes.NewReader(nil)
		r := &wsutil.Reader{Source: rd, State: ws.StateServerSide, CheckUTF8: true, MaxFrameSize: 4096}
		buf := make([]byte, 4096)
		b.ReportAllocs()
		for b.Loop() {
			copy(segment, benchSegment)
			rd.Reset(segment)
			for range benchFrames {
				h, err := r.NextFrame()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r, buf[:h.Length]); err != nil {
					b.Fatal(err)
				}
				if err := r.Discard(); err != nil {
					b.Fatal(err)
				}
			}
		}
		perFrame(b)
	})
	b.Run("wsutil.ReadClientData", func(b *testing.B) {
		rd := bytes.NewReader(nil)
		rw := struct {
			io.Reader
			io.Writer
		}{rd, io.Discard}
		b.ReportAllocs()
		for b.Loop() {
			copy(segment, benchSegment)
			rd.Reset(segment)
			for range benchFrames {
				if p, _, err := wsutil.ReadClientData(rw); err != nil || len(p) != 64 {
					b.Fatal(err)
				}
			}
		}
		perFrame(b)
	})
}

// The sizes that browsers send us: a pong, an auth frame, a token.
func BenchmarkUnmask(b *testing.B) {
	for _, n := range []int{6, 16, 48, 64, 100, 200, 1000} {
		p := bytes.Repeat([]byte{'a'}, n)
		b.Run(fmt.Sprintf("unmask/%d", n), func(b *testing.B) {
			for b.Loop() {
				if !unmask(p, 0x04030201) {
					b.Fatal(p)
				}
			}
		})
		b.Run(fmt.Sprintf("ws.Cipher+utf8.Valid/%d", n), func(b *testing.B) {
			for b.Loop() {
				ws.Cipher(p, [4]byte{1, 2, 3, 4}, 0)
				if !utf8.Valid(p) {
					b.Fatal(p)
				}
			}
		})
	}
}
