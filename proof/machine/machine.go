// SPDX-License-Identifier: Apache-2.0

// Package machine boots Debian under an emulator: a machine with a systemd, a kernel
// and an engine of its own, from the files that `scripts/deps SUITE` has prepared. It
// needs no rights. Nothing outside can be reached from within but the addresses that
// are forwarded, and it is told what to do over a port of its own.
package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/docker-remote-write/docker-remote-write/proof/engine"
)

// Options of a machine.
type Options struct {
	// Suite of Debian: trixie or sid.
	Suite string
	// Files are laid below /media/host in the machine, by name, from paths here.
	Files map[string]string
	// Relay is a command, the words of it, that copies between its standard streams
	// and the address that is added to them.
	Relay []string
	// Forward leads from addresses in the machine, of 192.0.2.0/24, to addresses here.
	Forward map[string]string
	// Log gets what is worth telling.
	Log func(format string, args ...any)
}

// Machine is an emulated machine and its disk. Its methods may not be called at the
// same time, but for Run.
type Machine struct {
	opts    Options
	tree    string // the files that its disk was made of
	dir     string
	qemu    *exec.Cmd
	done    chan struct{} // closed when qemu has ended
	mu      sync.Mutex
	agent   *agent // nil while it is off
	accel   string
	console *os.File
}

// New makes a machine with a fresh disk, which is off. The caller owns it and must
// Close it.
func New(ctx context.Context, o Options) (*Machine, error) {
	tree, err := engine.Tree(o.Suite)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "drw-machine-")
	if err != nil {
		return nil, err
	}
	m := &Machine{opts: o, tree: tree, dir: dir}
	if err := m.disks(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// disks makes the machine's disk, and the one that brings the files.
func (m *Machine) disks(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "cp", "--sparse=always", "--reflink=auto", m.tree+".img", m.path("disk")).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the disk: %w: %s", err, out)
	}
	files := m.path("files")
	for name, from := range m.opts.Files {
		to := filepath.Join(files, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "cp", "-rL", from, to).CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w: %s", name, err, out)
		}
	}
	if err := os.WriteFile(m.path("host"), nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(m.path("host"), 256<<20); err != nil {
		return err
	}
	mke2fs, err := tool("e2fsprogs", "mke2fs")
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, mke2fs, "-q", "-t", "ext4", "-d", files, m.path("host")).CombinedOutput(); err != nil {
		return fmt.Errorf("make a file system of the files: %w: %s", err, out)
	}
	return os.RemoveAll(files)
}

// Boot turns the machine on and returns when its agent answers.
func (m *Machine) Boot(ctx context.Context) error {
	if m.accel != "" {
		return m.boot(ctx, m.accel)
	}
	// A device for virtualisation may be there and not work: the first sign of the
	// kernel's life decides.
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		err := m.boot(ctx, "kvm")
		if err == nil || ctx.Err() != nil {
			return err
		}
		m.opts.Log("virtualisation does not work here (%v): emulating", err)
	}
	return m.boot(ctx, "tcg")
}

func (m *Machine) boot(ctx context.Context, accel string) error {
	if err := m.start(accel); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // whoever waits below is told when it fails
		select {
		case <-m.done:
			cancel(fmt.Errorf("the emulator ended: %s", m.tail()))
		case <-ctx.Done():
		}
	}()
	begun := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for alive := accel != "kvm"; !alive; {
		select {
		case <-ctx.Done():
			m.Cut()
			return context.Cause(ctx)
		case <-tick.C:
		}
		said := m.tail()
		alive = strings.Contains(said, "Linux version")
		if strings.Contains(said, "KVM internal error") || !alive && time.Since(begun) > 10*time.Second {
			m.Cut()
			first, _, _ := strings.Cut(said, "\n")
			return errors.New(cmp.Or(first, "no sign of the kernel's life"))
		}
	}
	m.accel = accel
	var conn net.Conn
	for conn == nil {
		var err error
		if conn, err = net.Dial("unix", m.path("agent")); err != nil {
			select {
			case <-ctx.Done():
				m.Cut()
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
	}
	a, err := attach(ctx, conn)
	if err != nil {
		said := m.tail()
		m.Cut()
		return fmt.Errorf("boot: %w: %s", err, said)
	}
	m.mu.Lock()
	m.agent = a
	m.mu.Unlock()
	return nil
}

// start starts the emulator.
func (m *Machine) start(accel string) error {
	kernel, err := engine.One(filepath.Join(m.tree, "boot/vmlinuz-*"))
	if err != nil {
		return err
	}
	initrd, err := engine.One(filepath.Join(m.tree, "boot/initrd.img-*"))
	if err != nil {
		return err
	}
	network := "user,id=lan,net=192.0.2.0/24,restrict=on" // slirp4netns in the machine has 10.0.2.0/24
	for from, to := range m.opts.Forward {
		network += fmt.Sprintf(",guestfwd=tcp:%s-cmd:%s %s", from, strings.Join(m.opts.Relay, " "), to)
	}
	args := []string{
		"-accel", accel, "-cpu", "max,la57=off,svm=off", "-smp", "1", "-m", "1536", "-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", "root=/dev/vda rw console=ttyS0 panic=-1 quiet loglevel=4 systemd.show_status=false",
		"-serial", "stdio",
		// This machine's page cache outlives the emulator: its disk need not wait for a real one.
		"-drive", "if=none,id=disk,format=raw,cache=unsafe,file=" + m.path("disk"), "-device", "virtio-blk-pci,drive=disk",
		"-drive", "if=none,id=host,format=raw,readonly=on,file=" + m.path("host"), "-device", "virtio-blk-pci,drive=host",
		"-netdev", network, "-device", "virtio-net-pci,netdev=lan,romfile=",
		"-chardev", "socket,id=agent,server=on,wait=off,path=" + m.path("agent"),
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
	}
	if m.console, err = os.Create(m.path("console")); err != nil {
		return err
	}
	defer m.console.Close()
	if m.qemu, err = emulator(args); err != nil {
		return err
	}
	m.qemu.Stdout, m.qemu.Stderr = m.console, m.console
	// It ends with whoever started it, and an interrupt from the terminal is not for it.
	m.qemu.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.qemu.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	m.done = done
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(done)
	}(m.qemu)
	return nil
}

// Run has the machine's root execute a script, and returns what it printed.
func (m *Machine) Run(ctx context.Context, script string) (string, error) {
	m.mu.Lock()
	a := m.agent
	m.mu.Unlock()
	if a == nil {
		return "", errOff
	}
	return a.run(ctx, script)
}

// Cut takes the power away, at once: what the machine has not written to its disk is gone.
func (m *Machine) Cut() {
	if m.done == nil {
		return
	}
	_ = m.qemu.Process.Kill()
	m.off()
}

// Off waits until the machine has turned itself off, as for a reboot.
func (m *Machine) Off(ctx context.Context) error {
	select {
	case <-m.done:
		m.off()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the machine does not go off: %w: %s", context.Cause(ctx), m.tail())
	}
}

func (m *Machine) off() {
	<-m.done
	m.mu.Lock()
	m.agent = nil
	m.mu.Unlock()
}

// Alive is an error when the machine is off.
func (m *Machine) Alive() error {
	select {
	case <-m.done:
		return errOff
	default:
		return nil
	}
}

// Accelerator is what runs the machine: kvm or tcg, the emulator's own.
func (m *Machine) Accelerator() string {
	name, _, _ := strings.Cut(m.accel, ",")
	return name
}

// Close turns the machine off and removes its disk.
func (m *Machine) Close() error {
	m.Cut()
	return os.RemoveAll(m.dir)
}

// tail is the end of what the emulator and the machine's console said.
func (m *Machine) tail() string {
	b, _ := os.ReadFile(m.path("console"))
	return strings.TrimSpace(string(b[max(0, len(b)-4000):]))
}

func (m *Machine) path(name string) string { return filepath.Join(m.dir, name) }

// emulator is the system's qemu, or the unpacked one.
func emulator(args []string) (*exec.Cmd, error) {
	const name = "qemu-system-x86_64"
	nice := []string{"-n", "10"}
	if path, err := exec.LookPath(name); err == nil {
		return exec.Command("nice", append(append(nice, path), args...)...), nil
	}
	cmd, err := engine.PackageCommand("qemu-system-x86", name)
	if err != nil {
		return nil, err
	}
	share := filepath.Join(filepath.Dir(filepath.Dir(cmd.Path)), "share")
	args = append(args, "-L", filepath.Join(share, "qemu"), "-L", filepath.Join(share, "seabios"))
	niced := exec.Command("nice", append(append(nice, cmd.Path), args...)...)
	niced.Env = cmd.Env
	return niced, nil
}

// tool is a program of the system, or of the unpacked package.
func tool(pkg, name string) (string, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	dir, err := engine.Package(pkg)
	if err != nil {
		return "", err
	}
	for _, sub := range []string{"sbin", "usr/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, sub, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("the package %s has no %s", pkg, name)
}
