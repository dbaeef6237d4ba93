package house

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// clockSymbol is where a Go program asks for the time: a function that the kernel maps into every process, of which each has a
// copy of its own as soon as it is written to. So the binary that is shipped is the one whose clock jumps, and only its.
const clockSymbol = "__vdso_clock_gettime"

// ShiftClock makes the wall clock of the process go ahead of the machine's by d from now on, in whole seconds; 0 puts it right again.
// Its monotonic clock goes on as before, as it does when a machine's clock is set.
func (p *Process) ShiftClock(d time.Duration) error {
	pid := p.cmd.Process.Pid
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	from, to, err := vdso(pid)
	if err != nil {
		return err
	}
	at, original, err := clockFunction(from)
	if err != nil {
		return err
	}
	code := original
	if d != 0 {
		code = shiftedClock(d)
	}
	return p.outside(pid, from, to, func() error {
		_, err := mem.WriteAt(code, at)
		return err
	})
}

// shiftedClock is clock_gettime with the system call, which adds to the seconds of CLOCK_REALTIME.
func shiftedClock(d time.Duration) []byte {
	code := []byte{
		0xb8, 0xe4, 0x00, 0x00, 0x00, // mov  eax, 228 (clock_gettime)
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 0x07, // jnz  to the end: another clock than CLOCK_REALTIME
		0x48, 0x81, 0x06, // add  qword [rsi], seconds
	}
	code = binary.LittleEndian.AppendUint32(code, uint32(int32(d/time.Second)))
	return append(code, 0xc3) // ret
}

// clockFunction finds the function in our own copy, which nobody writes to: its address in a process whose copy begins at from, and its
// first bytes.
func clockFunction(from int64) (at int64, original []byte, err error) {
	start, end, err := vdso(os.Getpid())
	if err != nil {
		return 0, nil, err
	}
	own, err := os.Open("/proc/self/mem")
	if err != nil {
		return 0, nil, err
	}
	defer own.Close()
	image := make([]byte, end-start)
	if _, err := own.ReadAt(image, start); err != nil {
		return 0, nil, err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, nil, err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, nil, err
	}
	for _, s := range symbols {
		if size := uint64(len(shiftedClock(0))); s.Name == clockSymbol && s.Size >= size {
			return from + int64(s.Value), image[s.Value : s.Value+size], nil
		}
	}
	return 0, nil, errors.New("the kernel has no " + clockSymbol)
}

// vdso is where the kernel's functions are in a process.
func vdso(pid int) (from, to int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			_, err = fmt.Sscanf(line, "%x-%x", &from, &to)
			return from, to, err
		}
	}
	return 0, 0, fmt.Errorf("process %d has no vdso", pid)
}

// outside stops the process where none of its threads is between from and to, does something, and lets it go on.
func (p *Process) outside(pid int, from, to int64, do func() error) error {
	for range 1000 {
		p.Signal(syscall.SIGSTOP)
		stopped, err := standing(pid, from, to)
		if err == nil && stopped {
			err = do()
			p.Signal(syscall.SIGCONT)
			return err
		}
		p.Signal(syscall.SIGCONT)
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // it moves on
	}
	return errors.New("a thread is always at the clock")
}

// standing waits until every thread stands, and tells that none is between from and to.
func standing(pid int, from, to int64) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil {
		return false, err
	}
	for _, path := range threads {
		for {
			text, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				break // it has ended
			}
			if err != nil {
				return false, err
			}
			fields := strings.Fields(string(text)) // "running", or … and the stack and program pointers
			if len(fields) < 3 {
				time.Sleep(100 * time.Microsecond)
				continue
			}
			var pc int64
			if _, err := fmt.Sscanf(fields[len(fields)-1], "0x%x", &pc); err != nil {
				return false, err
			}
			if pc >= from && pc < to {
				return false, nil
			}
			break
		}
	}
	return true, nil
}
