package house

import (
	"testing"
	"time"
)

// Eventually polls until f returns nil; when that takes longer than patience the test fails with f's error.
func Eventually(t testing.TB, patience time.Duration, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", patience, what, err)
		}
	}
}
