package house

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel kill the process when the tests die of a time-out, which runs no clean-up.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
