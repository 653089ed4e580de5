// SPDX-License-Identifier: Apache-2.0

// Package procstat reads what another process costs from Linux' /proc.
package procstat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the processor time that all threads of the process have used since it
// started, ended threads included, to the nanosecond.
func CPU(pid int) (time.Duration, error) {
	// The clock id of a process is made from its pid as in clock_getcpuclockid(3).
	const cpuclockSched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &ts); err != nil {
		return 0, fmt.Errorf("read the processor clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Memory of a process in bytes.
type Memory struct {
	// Resident counts file-backed pages too; Peak is the highest it ever was.
	Resident, Anonymous, Peak int64
}

// ReadMemory reads smaps_rollup and status.
func ReadMemory(pid int) (Memory, error) {
	rollup, err := fields(pid, "smaps_rollup")
	if err != nil {
		return Memory{}, err
	}
	status, err := fields(pid, "status")
	if err != nil {
		return Memory{}, err
	}
	return Memory{
		Resident:  rollup["Rss"] << 10,
		Anonymous: rollup["Anonymous"] << 10,
		Peak:      status["VmHWM"] << 10,
	}, nil
}

// ForgetPeak makes the peak begin anew with what is resident now.
func ForgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// VoluntarySwitches is how often the process' threads have gone to sleep.
func VoluntarySwitches(pid int) (int64, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	if len(tasks) == 0 {
		return 0, fmt.Errorf("process %d is gone", pid)
	}
	var n int64
	for _, t := range tasks {
		raw, err := os.ReadFile(t)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread ended in between
		}
		if err != nil {
			return 0, err
		}
		n += parse(raw)["voluntary_ctxt_switches"]
	}
	return n, nil
}

// Threads and Descriptors of a process.
func Threads(pid int) (int, error) { return entries(pid, "task") }

// Descriptors is the number of open files and sockets.
func Descriptors(pid int) (int, error) { return entries(pid, "fd") }

func entries(pid int, dir string) (int, error) {
	e, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, dir))
	return len(e), err
}

func fields(pid int, name string) (map[string]int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil, err
	}
	return parse(raw), nil
}

// parse takes the lines "Name:  123 kB"; others are left out.
func parse(raw []byte) map[string]int64 {
	m := map[string]int64{}
	for line := range bytes.Lines(raw) {
		f := bytes.Fields(line)
		if len(f) < 2 {
			continue
		}
		if v, err := strconv.ParseInt(string(f[1]), 10, 64); err == nil {
			m[string(bytes.TrimSuffix(f[0], []byte(":")))] = v
		}
	}
	return m
}

// DiskUsage is the sum of the lengths of the files under dir, in bytes.
func DiskUsage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var i fs.FileInfo
			if i, err = d.Info(); err == nil {
				total += i.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed in between
		}
		return err
	})
	return total, err
}
