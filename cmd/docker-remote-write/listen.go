// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/config"
	"github.com/docker-remote-write/docker-remote-write/internal/panics"
	"github.com/docker-remote-write/docker-remote-write/internal/statuscmd"
)

// listen serves the status page on STATUS_LISTEN_ADDRESS, if that is set, and in
// `run` status and profiles on a socket in the data directory, as the plugin does
// on its own. It serves until the returned function is called.
func (p *pipeline) listen() (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	if p.cfg.StatusListen != "" {
		l, err := net.Listen("tcp", p.cfg.StatusListen)
		if err != nil {
			return nil, fmt.Errorf("STATUS_LISTEN_ADDRESS=%s: %w", p.cfg.StatusListen, err)
		}
		stops = append(stops, serve(l, p.self.TCPHandler(p.cfg.StatusListen), p.log))
		p.log.WithField("address", l.Addr().String()).Info("serving the status page")
	}
	if p.cfg.Mode == config.Run && p.spool.Err() == nil {
		l, err := listenSocket(filepath.Join(p.cfg.DataDir, statuscmd.SocketName))
		if err != nil {
			p.log.WithError(err).Warn("the status command will not find this process")
			return stop, nil
		}
		stops = append(stops, serve(l, p.handler, p.log))
	}
	return stop, nil
}

// listenSocket makes a socket for root, or the service's user, alone. The spool's
// lock has made sure that a file in its place is a dead process's.
func listenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func serve(l net.Listener, h http.Handler, log logrus.FieldLogger) (stop func()) {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	done := make(chan struct{})
	panics.Go(log, "serving the status", func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close alone: a listener's other errors are temporary
	})
	return func() { server.Close(); <-done }
}
