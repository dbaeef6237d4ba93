//go:build !unix

package natsd

import (
	"errors"
	"os"
)

// lockFile does nothing where there is no flock; the port is then the only guard against a second process.
func lockFile(*os.File) error { return nil }

func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
