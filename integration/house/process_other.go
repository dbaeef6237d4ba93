//go:build !linux

package house

import "os/exec"

func dieWithUs(*exec.Cmd) {}
