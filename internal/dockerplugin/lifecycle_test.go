// SPDX-License-Identifier: Apache-2.0

package dockerplugin

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
)

// world is an engine and a pipeline under a virtual clock. Events carry the
// time since the start of the process.
type world struct {
	*lifecycle
	began    time.Time
	mu       sync.Mutex
	events   []string
	dialErr  error
	nlink    uint64
	lastFor  time.Duration // how long Last takes, or until its context ends
	flushFor time.Duration
	scrapeOn time.Duration // how long Scrape goes on after its end was asked for
	logs     *logtest.Hook
	sigterm  context.CancelFunc
	result   chan error
}

func (w *world) note(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, time.Since(w.began).Round(100*time.Millisecond).String()+" "+event)
}

func sleep(ctx context.Context, d time.Duration) {
	pause(ctx, d)
}

// life starts a process's life; open replaces the opening of the pipeline.
func life(t *testing.T, dir string, open func(context.Context) (Pipeline, error)) *world {
	log, hook := logtest.NewNullLogger()
	log.Level = logrus.DebugLevel
	w := &world{began: time.Now(), nlink: 1, logs: hook, result: make(chan error, 1)}
	pipe := Pipeline{
		Scrape: func(ctx context.Context) {
			w.note("scrape")
			<-ctx.Done()
			time.Sleep(w.scrapeOn)
			w.note("halt")
		},
		Last: func(ctx context.Context, engineDown bool) {
			if engineDown {
				w.note("last, engine down")
			} else {
				w.note("last")
			}
			sleep(ctx, w.lastFor)
		},
		Flush: func(ctx context.Context) {
			w.note("flush")
			sleep(ctx, w.flushFor)
		},
	}
	if open == nil {
		open = func(context.Context) (Pipeline, error) { return pipe, nil }
	}
	w.lifecycle = &lifecycle{
		log: log, open: open,
		dial: func() error {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.dialErr
		},
		links: func() (uint64, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.nlink, nil
		},
		count: quickEnds{dir},
		calls: make(chan call, 16), ended: make(chan struct{}),
	}
	var ctx context.Context
	ctx, w.sigterm = context.WithCancel(t.Context())
	t.Cleanup(w.sigterm)
	go func() {
		err := w.run(ctx)
		w.note("end")
		w.result <- err
	}()
	synctest.Wait()
	return w
}

// engine changes what the metrics socket says.
func (w *world) engine(dialErr error, nlink uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialErr, w.nlink = dialErr, nlink
}

func (w *world) seen() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *world) want(t *testing.T, events ...string) {
	t.Helper()
	if d := cmp.Diff(events, w.seen()); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

func after(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestDisable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := life(t, t.TempDir(), nil)
		w.start()
		w.start() // idempotent
		after(20 * time.Second)
		w.sigterm()
		if err := <-w.result; err != nil {
			t.Error(err)
		}
		w.want(t, "0s scrape", "20s halt", "20s last", "20s flush", "20s end")
		if left := time.Until(w.deadline); left != Budget {
			t.Errorf("%v is left for closing", left)
		}
	})
}

// TestBudget: however long the parts take, the engine waits no longer than 3 s.
func TestBudget(t *testing.T) {
	for name, c := range map[string]struct{ last, flush, scrapeOn time.Duration }{
		"hanging receiver": {0, time.Hour, 0},
		"hanging disk":     {time.Hour, time.Hour, 0},
		"hanging scrape":   {0, 0, 5 * time.Second},
	} {
		for _, graceful := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := life(t, t.TempDir(), nil)
				w.lastFor, w.flushFor, w.scrapeOn = c.last, c.flush, c.scrapeOn
				w.start()
				after(time.Second)
				began := time.Now()
				if graceful {
					w.stop()
					after(10 * time.Millisecond)
				}
				w.sigterm()
				<-w.result
				took := time.Since(began)
				if took > Budget-closing+20*time.Millisecond {
					t.Errorf("%s, graceful %v: ended after %v", name, graceful, took)
				}
				if end := w.deadline.Sub(began); end > Budget+20*time.Millisecond {
					t.Errorf("%s, graceful %v: the deadline is %v after the engine's call", name, graceful, end)
				}
				time.Sleep(c.scrapeOn)
			})
		}
	}
}

func TestEngineStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := life(t, t.TempDir(), nil)
		w.start()
		after(10 * time.Second)
		w.flushFor = 200 * time.Millisecond
		w.stop()
		w.stop() // idempotent
		w.engine(syscall.ECONNREFUSED, 1)
		after(10 * time.Millisecond)
		w.sigterm()
		<-w.result
		w.want(t, "0s scrape", "10s halt", "10s last, engine down", "10s flush", "10.2s end")
	})
}

// TestEngineKilled: the plugin stays, for that is how a dead engine is seen, and
// makes way at once for the next one.
func TestEngineKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := life(t, t.TempDir(), nil)
		w.flushFor = time.Hour
		w.start()
		after(10 * time.Second)
		w.engine(syscall.ECONNREFUSED, 1)
		after(2 * time.Hour)
		w.want(t, "0s scrape")
		w.sigterm()
		<-w.result
		w.want(t, "0s scrape", "2h0m10s halt", "2h0m10s end")
	})
}

// TestLiveRestore: StopMetrics without an end, an engine that is away for a
// while, and StartMetrics on a mount that is dead.
func TestLiveRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := life(t, t.TempDir(), nil)
		w.start()
		after(60 * time.Second)
		w.stop()
		w.engine(syscall.ECONNREFUSED, 1)
		after(30 * time.Second)
		w.want(t, "0s scrape", "1m0s halt", "1m0s last, engine down", "1m0s flush", "1m15s scrape")
		w.start()
		after(900 * time.Millisecond)
		if len(w.seen()) != 5 {
			t.Errorf("ended before the engine had its answer: %q", w.seen())
		}
		if err := <-w.result; err != nil {
			t.Error(err)
		}
		w.want(t, "0s scrape", "1m0s halt", "1m0s last, engine down", "1m0s flush", "1m15s scrape", "1m31s halt", "1m31s end")
	})
}

// TestLiveRestoreAtOnce: an engine that is back before scraping went on.
func TestLiveRestoreAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := life(t, t.TempDir(), nil)
		w.start()
		after(60 * time.Second)
		w.stop()
		after(time.Second)
		w.start() // the same engine changed its mind, or the mount is shared
		after(time.Minute)
		w.want(t, "0s scrape", "1m0s halt", "1m0s last, engine down", "1m0s flush", "1m1s scrape")
		w.sigterm()
		<-w.result
	})
}

// TestDeadMount: no StartMetrics tells of it, only the socket itself.
func TestDeadMount(t *testing.T) {
	for name, c := range map[string]struct {
		nlink uint64
		err   error
		stays time.Duration // at least
		ends  time.Duration // at most; 0 for never
	}{
		"inode gone":              {0, syscall.ECONNREFUSED, 25 * time.Second, 65 * time.Second},
		"engine away":             {1, syscall.ECONNREFUSED, 5 * time.Hour, 7 * time.Hour},
		"no socket":               {0, fs.ErrNotExist, 24 * time.Hour, 0},
		"inode gone, but answers": {0, nil, 24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := life(t, t.TempDir(), nil)
				w.start()
				after(time.Minute)
				w.engine(c.err, c.nlink)
				after(c.stays)
				w.want(t, "0s scrape")
				if c.ends == 0 {
					w.sigterm()
					<-w.result
					return
				}
				after(c.ends - c.stays)
				select {
				case err := <-w.result:
					if err != nil {
						t.Error(err)
					}
				default:
					t.Errorf("still there after %v", c.ends)
				}
			})
		})
	}
}

// TestCrashLoop: processes that end at once are slowed, one that lives is not
// held responsible for them.
func TestCrashLoop(t *testing.T) {
	dir := t.TempDir()
	var delays []time.Duration
	for range 9 {
		synctest.Test(t, func(t *testing.T) {
			w := life(t, dir, nil)
			w.start()
			for len(w.seen()) == 0 {
				after(100 * time.Millisecond)
			}
			delays = append(delays, time.Since(w.began).Truncate(500*time.Millisecond))
			kept, err := os.ReadFile(w.count.path())
			if err != nil {
				t.Fatal(err)
			}
			w.sigterm()
			<-w.result
			// It was killed, so there was no orderly end that would have forgotten.
			if err := os.WriteFile(w.count.path(), kept, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	want := []time.Duration{0, 0, 0, 1, 2, 4, 8, 10, 10}
	for i := range want {
		want[i] *= time.Second
	}
	if d := cmp.Diff(want, delays); d != "" {
		t.Errorf("delays (-want +got):\n%s", d)
	}
	synctest.Test(t, func(t *testing.T) {
		w := life(t, dir, nil)
		w.start()
		after(longestDelay + stable)
		if n, _ := w.count.begin(); n != 0 {
			t.Errorf("a process that lived is preceded by %d quick ends", n)
		}
		w.sigterm()
		<-w.result
	})
	if n, _ := (quickEnds{dir}).begin(); n != 0 {
		t.Errorf("an orderly end counts: %d", n)
	}
}

// TestRefusedLoop: where a new process finds a dead mount again, it waits longer.
func TestRefusedLoop(t *testing.T) {
	dir := t.TempDir()
	var took time.Duration
	for range 6 {
		synctest.Test(t, func(t *testing.T) {
			w := life(t, dir, nil)
			w.engine(syscall.ECONNREFUSED, 1)
			began := time.Now()
			w.start()
			<-w.result
			took = time.Since(began)
		})
	}
	if took < 4*time.Second {
		t.Errorf("the sixth ended after %v", took)
	}
}

func TestOpening(t *testing.T) {
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var w *world
			w = life(t, "", func(ctx context.Context) (Pipeline, error) {
				sleep(ctx, 5*time.Second)
				return Pipeline{
					Scrape: func(ctx context.Context) { w.note("scrape"); <-ctx.Done() },
					Last:   func(context.Context, bool) { w.note("last") },
					Flush:  func(context.Context) {},
				}, nil
			})
			w.start()
			after(6 * time.Second)
			w.sigterm()
			<-w.result
			w.want(t, "5s scrape", "6s last", "6s end")
		})
	})
	t.Run("stopped before it was open", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := life(t, "", func(ctx context.Context) (Pipeline, error) {
				<-ctx.Done()
				return Pipeline{}, ctx.Err()
			})
			w.start()
			w.stop()
			w.sigterm()
			<-w.result
			w.want(t, "0s end")
		})
	})
	t.Run("fails, then does not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var w *world
			n := 0
			w = life(t, "", func(context.Context) (Pipeline, error) {
				if n++; n < 4 {
					return Pipeline{}, errors.New("no space left")
				}
				return Pipeline{Scrape: func(ctx context.Context) { w.note("scrape"); <-ctx.Done() },
					Last: func(context.Context, bool) {}, Flush: func(context.Context) {}}, nil
			})
			w.start()
			after(time.Minute)
			w.want(t, "7s scrape")
			w.sigterm()
			<-w.result
		})
	})
}

// TestPanic: one line, and an end that lets the engine start a new process.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := life(t, "", func(context.Context) (Pipeline, error) {
			return Pipeline{Scrape: func(context.Context) { panic("index\nout of range") }}, nil
		})
		w.start()
		err := <-w.result
		w.want(t, "2s end") // not before the engine has finished starting it
		if err == nil || !strings.HasPrefix(err.Error(), "panic in scraping at ") ||
			!strings.Contains(err.Error(), "lifecycle_test.go") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %q", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := life(t, "", func(context.Context) (Pipeline, error) { panic("no") })
		if err := <-w.result; err == nil || !strings.HasPrefix(err.Error(), "panic in opening at ") {
			t.Errorf("got %q", err)
		}
	})
}
