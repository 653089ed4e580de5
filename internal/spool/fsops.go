// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The labels of the file operations, so that a test can fail or stop exactly one.
const (
	opDirCreate       = "dir.create"
	opDirRead         = "dir.read"
	opDirSync         = "dir.sync"
	opLock            = "lock"
	opStat            = "stat"
	opSegmentCreate   = "segment.create"
	opSegmentWrite    = "segment.write"
	opSegmentSync     = "segment.sync"
	opSegmentTruncate = "segment.truncate"
	opSegmentRemove   = "segment.remove"
	opSegmentOpen     = "segment.open"
	opSegmentRead     = "segment.read"
	opCursorsOpen     = "cursors.open"
	opCursorsWrite    = "cursors.write"
	opCursorsSync     = "cursors.sync"
)

// errShort makes a write put down half of its bytes and fail.
var errShort = errors.New("short write")

// fileOps are the file operations of the spool. hook, if not nil, is asked before
// each: its error is the operation's, and while it does not return, the operation
// hangs.
type fileOps struct {
	hook func(op, path string) error
}

func (o *fileOps) before(op, path string) error {
	if o.hook == nil {
		return nil
	}
	if err := o.hook(op, path); err != nil {
		return &os.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

func (o *fileOps) mkdir(path string) error {
	if err := o.before(opDirCreate, path); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o700)
}

// makeDir makes a directory that lasts, in one that may have to be made too.
func (o *fileOps) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := o.mkdir(dir); err != nil {
		return err
	}
	for _, d := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if err := o.syncDir(d); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}

// named reports whether the file that was opened under a name is the one that has it. A
// disk that does not tell is no reason to give it up.
func (o *fileOps) named(f *os.File) bool {
	var opened, there unix.Stat_t
	err := o.before(opStat, f.Name())
	if err == nil {
		err = unix.Stat(f.Name(), &there)
	}
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
	}
	return unix.Fstat(int(f.Fd()), &opened) != nil || opened.Ino == there.Ino && opened.Dev == there.Dev
}

// unlinked reports whether a file that is open has no name any more.
func (o *fileOps) unlinked(f *os.File) bool {
	var opened unix.Stat_t
	return unix.Fstat(int(f.Fd()), &opened) == nil && opened.Nlink == 0
}

func (o *fileOps) readDir(path string) ([]os.DirEntry, error) {
	if err := o.before(opDirRead, path); err != nil {
		return nil, err
	}
	return os.ReadDir(path)
}

func (o *fileOps) syncDir(path string) error {
	if err := o.before(opDirSync, path); err != nil {
		return err
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (o *fileOps) open(op, path string, flags int) (*os.File, error) {
	if err := o.before(op, path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, flags|unix.O_CLOEXEC, 0o600)
}

// writeAt never leaves an offset behind, so that a write that failed halfway can
// be made again.
func (o *fileOps) writeAt(op string, f *os.File, b []byte, off int64) error {
	if err := o.before(op, f.Name()); err != nil {
		if errors.Is(err, errShort) {
			_, _ = f.WriteAt(b[:len(b)/2], off)
			return fmt.Errorf("%w: %w", io.ErrShortWrite, err)
		}
		return err
	}
	_, err := f.WriteAt(b, off)
	return err
}

func (o *fileOps) sync(op string, f *os.File) error {
	if err := o.before(op, f.Name()); err != nil {
		return err
	}
	return f.Sync()
}

// datasync is sync without the times of the file; its length goes with it.
func (o *fileOps) datasync(op string, f *os.File) error {
	if err := o.before(op, f.Name()); err != nil {
		return err
	}
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

func (o *fileOps) truncate(f *os.File, size int64) error {
	if err := o.before(opSegmentTruncate, f.Name()); err != nil {
		return err
	}
	return f.Truncate(size)
}

func (o *fileOps) remove(path string) error {
	if err := o.before(opSegmentRemove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

// readAt reads as much of b as the file has.
func (o *fileOps) readAt(f *os.File, b []byte, off int64) (int, error) {
	if err := o.before(opSegmentRead, f.Name()); err != nil {
		return 0, err
	}
	n, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// flock takes the lock of the directory; the kernel releases it with the process.
func (o *fileOps) flock(path string) (*os.File, error) {
	f, err := o.open(opLock, path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
