// SPDX-License-Identifier: Apache-2.0

// Package dockerplugin is a managed plugin as the Docker Engine sees it: the
// MetricsCollector protocol on the plugin's socket, and what each event in the
// engine's life means for one who scrapes it. It knows nothing of what is
// scraped and sent; it is given functions.
//
// The protocol is docs/extend/plugins_metrics.md of docker/cli. What engines do
// beyond it, and why the plugin acts as it does, stands in DESIGN.md.
package dockerplugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

// Where the engine puts its sockets in a plugin's root file system. The name of
// the first is also in plugin/config.json.
const (
	Socket        = "/run/docker/plugins/rw.sock"
	MetricsSocket = "/run/docker/metrics.sock"
)

// Budget is how long the engine may wait for us when it stops or disables the
// plugin: StopMetrics and the SIGTERM that follows share it. The engine would
// kill the plugin after 10 s, and gives itself 15 s for everything it runs.
const Budget = 3 * time.Second

// Pipeline is what runs between the engine's calls. Each function obeys its
// context: none may outlive it by more than a moment.
type Pipeline struct {
	// Scrape scrapes until the context is done. It is called again after it
	// returned, never twice at a time.
	Scrape func(ctx context.Context)
	// Last takes the last scrape, ends its series, says up 0 if the engine is
	// going down, and makes all of it durable. Scrape is not running then.
	Last func(ctx context.Context, engineDown bool)
	// Flush tries once to send what waits.
	Flush func(ctx context.Context)
}

// Options of a plugin.
type Options struct {
	// Socket to serve the protocol on.
	Socket string
	// MetricsSocket of the engine; empty if that is not what is scraped. It is
	// only dialled, to tell a dead engine from a live one.
	MetricsSocket string
	// StateDir keeps a count of quick ends, to slow a crash loop. It must
	// outlive the process. Empty for none.
	StateDir string
	// Invalid says what is wrong with the configuration. The plugin then serves
	// its socket, refuses StartMetrics with that text and does nothing else.
	Invalid error
	// Open makes the pipeline. It is called after the plugin listens, and again,
	// with growing delays, if it fails.
	Open func(ctx context.Context) (Pipeline, error)
	Log  logrus.FieldLogger
}

// Plugin is one process's life under an engine.
type Plugin struct {
	o    Options
	mux  *http.ServeMux
	life *lifecycle
}

// New prepares a plugin. Nothing happens before Run.
func New(o Options) *Plugin {
	p := &Plugin{o: o, mux: http.NewServeMux()}
	p.life = &lifecycle{
		log:   o.Log,
		open:  o.Open,
		dial:  func() error { return dial(o.MetricsSocket) },
		links: func() (uint64, error) { return links(o.MetricsSocket) },
		count: quickEnds{o.StateDir},
		calls: make(chan call, 16),
		ended: make(chan struct{}),
	}
	p.routes()
	return p
}

// Handle serves more on the plugin's socket. Patterns are those of
// http.ServeMux; it may be called at any time.
func (p *Plugin) Handle(pattern string, h http.Handler) { p.mux.Handle(pattern, h) }

// Deadline is when the process should have ended, once Run has returned: what
// is left of the budget for closing the pipeline. It is zero before.
func (p *Plugin) Deadline() time.Time { return p.life.deadline }

// Run listens, serves and acts on the engine's calls until ctx is done, which
// is how SIGTERM reaches it, or until only a new process can go on: the engine
// starts one, with a fresh mount of its metrics socket. It returns within Budget
// of the end of ctx. A panic of the pipeline is returned as an error.
func (p *Plugin) Run(ctx context.Context) error {
	l, err := listen(p.o.Socket)
	if err != nil {
		return fmt.Errorf("listen on the plugin socket: %w", err)
	}
	server := &http.Server{Handler: p.mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	panics.Go(p.o.Log, "serving the plugin socket", func() { served <- server.Serve(l) })

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failed := make(chan error, 1)
	panics.Go(p.o.Log, "watching the plugin socket", func() {
		err := <-served
		if !errors.Is(err, http.ErrServerClosed) {
			cancel(err)
		}
		failed <- err
	})
	if p.o.Invalid != nil {
		p.o.Log.WithError(p.o.Invalid).Error("the configuration is wrong: idle until it, or a file that it names, is set right")
		<-ctx.Done()
		p.life.deadline = time.Now().Add(Budget)
		close(p.life.ended)
	} else {
		logMounts(p.o.Log)
		err = p.life.run(ctx)
	}
	// Answers that are being written get a moment; streams of profiles do not.
	closing, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer stop()
	if server.Shutdown(closing) != nil {
		server.Close()
	}
	if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve the plugin socket: %w", e))
	}
	return err
}

// dial connects and closes. It does not wait: a local socket answers at once.
func dial(socket string) error {
	if socket == "" {
		return nil
	}
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// links counts the names of the socket's inode: 1 while its engine is alive or
// has not come back, 0 once another engine has made a new socket in its place.
func links(socket string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(socket, &st); err != nil {
		return 0, err
	}
	return uint64(st.Nlink), nil
}
