// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process reads what the process takes. The file stays open: procfs writes its
// content anew at each read from its beginning, so a scrape costs one system call
// for each figure. client_golang's process collector would add nine series and
// read five files, the list of descriptors among them.
type process struct {
	open  sync.Once
	statm *os.File
}

// read returns what is known; a figure that the kernel does not give is 0.
func (p *process) read() ProcessState {
	p.open.Do(func() { p.statm, _ = os.Open("/proc/self/statm") })
	var s ProcessState
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) == nil {
		s.CPU = Secs(time.Duration(use.Utime.Nano() + use.Stime.Nano()))
	}
	var buf [128]byte
	n, _ := p.statm.ReadAt(buf[:], 0) // the second field is the resident set in pages
	if _, rest, ok := bytes.Cut(buf[:n], []byte(" ")); ok {
		field, _, _ := bytes.Cut(rest, []byte(" "))
		pages, _ := strconv.ParseUint(string(field), 10, 64)
		s.ResidentBytes = pages * uint64(os.Getpagesize())
	}
	return s
}
