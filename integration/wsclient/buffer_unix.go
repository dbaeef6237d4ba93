//go:build unix

package wsclient

import "syscall"

func setReadBuffer(c syscall.RawConn, n int) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n) }); e != nil {
		return e
	}
	return err
}
