// SPDX-License-Identifier: Apache-2.0

package statuscmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	enabled  = "enabled"
	disabled = "disabled"
)

// places are where forwarders may be found.
type places struct {
	// socket is the only one to ask, if set.
	socket string
	// run and root are the engine's runtime and data directories.
	run, root string
	// environment tells DATA_DIR, STATE_DIRECTORY and STATUS_LISTEN_ADDRESS.
	environment func(string) string
}

// record is what the engine keeps of a plugin in ROOT/plugins/ID/config.json
// (moby's plugin/v2.Plugin), as far as it matters here. Its settings, which may
// hold secrets, are not read.
type record struct {
	Plugin struct {
		ID      string `json:"Id"`
		Name    string
		Enabled bool
		Config  struct {
			Interface  struct{ Socket string }
			Entrypoint []string
		}
	} `json:"plugin"`
}

// ours tells this plugin from others by its socket and its program.
func (r *record) ours() bool {
	c := &r.Plugin.Config
	return c.Interface.Socket == SocketName && len(c.Entrypoint) > 0 && filepath.Base(c.Entrypoint[0]) == "docker-remote-write"
}

// find lists the forwarders, not yet asked. The engine's records come first: when
// the engine gives up on a plugin that it could not start again, it removes its
// socket with the directory around it and goes on listing the plugin as enabled.
// Sockets without a record are those of engines with another data directory.
func (p *places) find() ([]Forwarder, error) {
	if p.socket != "" {
		return []Forwarder{{Name: filepath.Base(p.socket), Socket: p.socket}}, nil
	}
	var found []Forwarder
	known := map[string]bool{}
	var errs []error
	records, err := os.ReadDir(filepath.Join(p.root, "plugins"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, d := range records {
		var r record
		b, err := os.ReadFile(filepath.Join(p.root, "plugins", d.Name(), "config.json"))
		if err != nil || json.Unmarshal(b, &r) != nil || !r.ours() {
			continue
		}
		known[r.Plugin.ID] = true
		f := Forwarder{Name: r.Plugin.Name, ID: r.Plugin.ID, Listed: disabled, Socket: p.pluginSocket(r.Plugin.ID)}
		f.rootless = owner(filepath.Join(p.root, "plugins", d.Name(), "config.json")) != 0
		if r.Plugin.Enabled {
			f.Listed = enabled
		}
		found = append(found, f)
	}
	sockets, err := os.ReadDir(filepath.Join(p.run, "plugins"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, d := range sockets {
		socket := p.pluginSocket(d.Name())
		if _, err := os.Stat(socket); err == nil && !known[d.Name()] {
			found = append(found, Forwarder{Name: "plugin", ID: d.Name(), Socket: socket})
		}
	}
	found = append(found, p.processes()...)
	slices.SortStableFunc(found, func(a, b Forwarder) int { return strings.Compare(a.Name, b.Name) })
	return found, explain(errors.Join(errs...))
}

// owner is the user whom a file belongs to. An engine's records are root's; those of a
// rootless engine are its user's, unless one looks from within its namespaces.
func owner(path string) uint32 {
	if info, err := os.Stat(path); err == nil {
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			return s.Uid
		}
	}
	return 0
}

// explain says what to do about directories that only root may list.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run this as root", err)
	}
	return err
}

func (p *places) pluginSocket(id string) string {
	return filepath.Join(p.run, "plugins", id, SocketName)
}

// processes are those of `run`: by DATA_DIR where the environment has it, as `run`
// itself would look for it, else by STATUS_LISTEN_ADDRESS.
func (p *places) processes() []Forwarder {
	dir := p.environment("DATA_DIR")
	named := dir != ""
	if !named {
		dir, _, _ = strings.Cut(p.environment("STATE_DIRECTORY"), ":")
	}
	if dir == "" {
		dir = "/var/lib/docker-remote-write"
	}
	address := p.environment("STATUS_LISTEN_ADDRESS")
	socket := filepath.Join(dir, SocketName)
	if _, err := os.Stat(socket); err == nil || named && address == "" {
		return []Forwarder{{Name: "run", Socket: socket}}
	}
	if address != "" {
		return []Forwarder{{Name: "run", Socket: address}}
	}
	return nil
}
