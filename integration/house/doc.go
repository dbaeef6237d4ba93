// Package house runs the real binary and real NATS servers as processes, for tests.
//
// Build makes the executables once for a run of tests. What is started belongs to a test: it is killed when the test ends, the
// end of what it wrote is shown if the test failed, and a data race or a panic in it fails the test.
package house
