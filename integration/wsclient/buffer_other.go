//go:build !unix

package wsclient

import (
	"errors"
	"syscall"
)

func setReadBuffer(syscall.RawConn, int) error {
	return errors.New("the option ReadBuffer is not supported on this system")
}
