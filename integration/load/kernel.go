//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// kernelMemory is what the kernel holds for sockets and the like, in bytes: of this program's control group where there is one
// that counts it, and so of all processes of the run and of nothing else; otherwise of the machine.
func kernelMemory() (int64, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return slab()
	}
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		var n int64
		switch controllers {
		case "memory": // version 1
			n, err = number(filepath.Join("/sys/fs/cgroup/memory", path, "memory.kmem.usage_in_bytes"))
		case "": // version 2
			n, err = statOf(filepath.Join("/sys/fs/cgroup", path, "memory.stat"))
		default:
			continue
		}
		if err == nil && n > 0 {
			return n, nil
		}
	}
	return slab()
}

// statOf is the memory of the kernel and of socket buffers in a version 2 group.
func statOf(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	kernel, err := field(b, "kernel ")
	if err != nil {
		return 0, err
	}
	sock, err := field(b, "sock ")
	return kernel + sock, err
}

// slab is what the kernel's own allocators hold on the whole machine.
func slab() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("memory of the kernel: %w", err)
	}
	kib, err := field(b, "Slab:")
	return kib << 10, err
}

func number(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// field reads the number behind a name at the beginning of a line.
func field(text []byte, name string) (n int64, err error) {
	_, rest, ok := bytes.Cut(append([]byte("\n"), text...), []byte("\n"+name))
	if !ok {
		return 0, fmt.Errorf("there is no %q", strings.TrimSpace(name))
	}
	if _, err := fmt.Sscan(string(rest[:min(len(rest), 40)]), &n); err != nil {
		return 0, fmt.Errorf("%s: %w", strings.TrimSpace(name), err)
	}
	return n, nil
}

// socketCaches are the kernel's objects of which a TCP socket in an epoll has one each.
var socketCaches = []string{"TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi", "ep_head", "lsm_inode_cache", "lsm_file_cache"}

// socketObjects is the size of what the kernel keeps for one end of an idle connection.
func socketObjects() (sum int64, err error) {
	b, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0, err
	}
	for _, name := range socketCaches {
		var objects, all, size int64
		_, rest, ok := bytes.Cut(b, []byte("\n"+name+" "))
		if !ok {
			continue // merged with another of its size, or not in this kernel
		}
		if _, err := fmt.Sscan(string(rest[:min(len(rest), 100)]), &objects, &all, &size); err != nil {
			return 0, fmt.Errorf("/proc/slabinfo, %s: %w", name, err)
		}
		sum += size
	}
	return sum, nil
}

// socketBuffers is what TCP's buffers hold in this network namespace, in bytes: pages of which no slab knows.
func socketBuffers() (int64, error) {
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, fmt.Errorf("buffers of sockets: %w", err)
	}
	_, tcp, _ := bytes.Cut(b, []byte("\nTCP: "))
	_, rest, _ := bytes.Cut(tcp, []byte(" mem "))
	var pages int64
	if _, err := fmt.Sscan(string(rest[:min(len(rest), 40)]), &pages); err != nil {
		return 0, fmt.Errorf("/proc/net/sockstat, TCP mem: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}
