// Package integration tests the real binary, as processes, against real NATS servers and real browsers.
package integration

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"tidings/integration/house"
)

// programs are built once for all tests.
var programs *house.Programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if programs, err = house.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer programs.Remove()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
