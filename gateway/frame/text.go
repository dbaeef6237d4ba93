package frame

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const highBits = 0x8080808080808080

// unmask applies the masking key to p (RFC 6455, 5.3) and tells whether the result is ASCII, which it learns for free.
//
// For 24 to 200 bytes this takes 5 to 11 ns, where ws.Cipher takes 6 to 14 and then leaves utf8.Valid to do (14 to 30
// together); ws.Cipher wins beyond 1,000 bytes, which browsers do not send us.
func unmask(p []byte, key uint32) (ascii bool) {
	k := uint64(key)<<32 | uint64(key)
	var seen uint64
	for len(p) >= 32 {
		v0 := binary.LittleEndian.Uint64(p) ^ k
		v1 := binary.LittleEndian.Uint64(p[8:]) ^ k
		v2 := binary.LittleEndian.Uint64(p[16:]) ^ k
		v3 := binary.LittleEndian.Uint64(p[24:]) ^ k
		binary.LittleEndian.PutUint64(p, v0)
		binary.LittleEndian.PutUint64(p[8:], v1)
		binary.LittleEndian.PutUint64(p[16:], v2)
		binary.LittleEndian.PutUint64(p[24:], v3)
		seen |= v0 | v1 | v2 | v3
		p = p[32:]
	}
	for len(p) >= 8 {
		v := binary.LittleEndian.Uint64(p) ^ k
		binary.LittleEndian.PutUint64(p, v)
		seen |= v
		p = p[8:]
	}
	for i := range p {
		c := p[i] ^ byte(k)
		p[i] = c
		seen |= uint64(c)
		k >>= 8
	}
	return seen&highBits == 0
}

// turn is the key for the bytes that follow the first n.
func turn(key uint32, n int) uint32 { return bits.RotateLeft32(key, -8*(n&3)) }

// wholeRunes returns how many bytes of p are whole characters, and whether p is valid UTF-8 so far: the rest, three
// bytes at most, may be the beginning of a character.
func wholeRunes(p []byte) (n int, ok bool) {
	n = len(p)
	for i := n - 1; i >= 0 && i >= len(p)-utf8.UTFMax+1; i-- {
		if utf8.RuneStart(p[i]) {
			// FullRune takes a beginning that nothing can complete for a (bad) whole, so that Valid sees it.
			if !utf8.FullRune(p[i:]) {
				n = i
			}
			break
		}
	}
	return n, utf8.Valid(p[:n])
}
