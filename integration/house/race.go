//go:build race

package house

// Race tells that the tests run under the race detector: then so does the binary.
const Race = true
