// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"sync"

	"github.com/docker-remote-write/docker-remote-write/proof/promtest"
)

// weather is what a receiver does with requests.
type weather struct {
	mu   sync.Mutex
	down bool
	came chan struct{} // holds one token after a request that it took
}

func newReceiver() (*receiver, error) {
	w := &weather{came: make(chan struct{}, 1)}
	s, err := promtest.Start(promtest.Options{Middleware: w.around})
	return &receiver{s, w}, err
}

func (w *weather) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		down := w.down
		w.mu.Unlock()
		if down {
			http.Error(rw, "down", http.StatusServiceUnavailable)
			return
		}
		select {
		case w.came <- struct{}{}:
		default:
		}
		next.ServeHTTP(rw, r)
	})
}

func (w *weather) set(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	select {
	case <-w.came:
	default:
	}
}

// renew empties the receiver, which is up and stays where it is.
func (r *receiver) renew() error {
	r.weather.set(false)
	address := r.Addr()
	if err := r.Close(); err != nil {
		return err
	}
	var err error
	r.Server, err = promtest.Start(promtest.Options{Middleware: r.weather.around, Addr: address})
	return err
}
