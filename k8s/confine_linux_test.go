package k8s

import (
	"os"
	"os/exec"
	"syscall"

	corev1 "k8s.io/api/core/v1"
)

// confine makes the image the whole of the process's world, as its user, where we may do that; elsewhere it runs in place.
func confine(cmd *exec.Cmd, root string, as *corev1.PodSecurityContext) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // the tests may die of a time-out
	if os.Getuid() != 0 {
		inPlace(cmd, root)
		return
	}
	cmd.SysProcAttr.Chroot = root
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(*as.RunAsUser), Gid: uint32(*as.RunAsGroup)}
}
