// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DropPrivileges gives up what the engine grants a plugin beyond what its user,
// root, owns: all capabilities, for good, and the right to gain any by running
// a program. It acts on every thread. Afterwards a file of another user that is
// not readable for all cannot be read. It fails in binaries built with cgo.
func DropPrivileges() error {
	prctl := func(option, a, b uintptr) error {
		_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, a, b, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	var errs []error
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		errs = append(errs, fmt.Errorf("ambient capabilities: %w", err))
	}
	// Up to the last one that this kernel knows. Dropping needs CAP_SETPCAP.
	for c := uintptr(0); ; c++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			break
		}
		if held == 0 {
			continue
		}
		if err := prctl(unix.PR_CAPBSET_DROP, c, 0); err != nil {
			errs = append(errs, fmt.Errorf("bounding set: %w", err))
			break
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0); errno != 0 {
		errs = append(errs, fmt.Errorf("capabilities: %w", errno))
	}
	return errors.Join(errs...)
}
