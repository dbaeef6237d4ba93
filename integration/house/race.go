//go:build race

package house

// race tells that the tests run under the race detector: then so does the binary.
const race = true
