// SPDX-License-Identifier: Apache-2.0

// Command driver is a spool with a sender for tests that end it at any moment: it
// appends scrapes of package load, hours of them in seconds, and sends them until
// nothing waits. On stdout it says "begin N" before and "done N" after each
// Append, and at the end a line of JSON with what became of the samples.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/remotewrite"
	"github.com/docker-remote-write/docker-remote-write/internal/series"
	"github.com/docker-remote-write/docker-remote-write/internal/spool"
	"github.com/docker-remote-write/docker-remote-write/proof/chaos/load"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("dir", "", "data directory")
	target := flag.String("url", "", "receiver")
	receiver := flag.Int("receiver", 0, "number in the URL that the spool is told; nothing is known of another one")
	protocol := flag.String("protocol", "auto", "auto, 2.0 or 1.0")
	hold := flag.Bool("hold", false, "keep what is refused with 401, 402, 403 or 404")
	base := flag.Int64("base", 0, "time of number 0 in milliseconds")
	from := flag.Int("from", 1, "number of the first scrape")
	to := flag.Int("to", 0, "number of the last scrape")
	pause := flag.Duration("pause", 0, "between two scrapes")
	first := flag.Bool("first", false, "append all before anything is sent")
	width := flag.Int("series", 40, "samples in each scrape")
	several := flag.Bool("several", false, "scrapes of three targets")
	wide := flag.Bool("wide", false, "the last of them has 10,000 series")
	setBack := flag.Bool("set-back", false, "a clock that is set back now and then")
	most := flag.Int("most", 10000, "samples in a request")
	timeout := flag.Duration("timeout", time.Second, "of a request")
	backoff := flag.Duration("backoff", 20*time.Millisecond, "longest wait between two attempts")
	flag.Parse()

	log := logrus.New()
	log.SetOutput(os.Stderr)
	u, err := url.Parse(*target)
	if err != nil {
		return err
	}
	p, err := remotewrite.ParseProtocol(*protocol)
	if err != nil {
		return err
	}
	numbers := series.NewRegistry()
	s, err := spool.Open(*dir, spool.Options{Series: numbers, Log: log})
	if err != nil {
		return err
	}
	cursors, err := s.Claim([]spool.Endpoint{{Name: "driver", URL: fmt.Sprintf("http://driver/%d", *receiver)}})
	if err != nil {
		return err
	}
	sender, err := remotewrite.New(remotewrite.Options{
		Name: "driver", URL: u, Protocol: p, HoldOnAuthError: *hold, Log: log,
		MaxSamples: *most, Timeout: *timeout, MinBackoff: time.Millisecond, MaxBackoff: *backoff,
	}, cursors[0])
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var wg sync.WaitGroup
	send := func() { wg.Go(func() { _ = sender.Run(ctx) }) }
	if !*first {
		send()
	}
	out := bufio.NewWriter(os.Stdout)
	say := func(format string, args ...any) {
		fmt.Fprintf(out, format+"\n", args...)
		out.Flush()
	}
	var sc series.Scrape
	scrapes := load.Load{Base: *base, Width: *width, Several: *several, Wide: *wide, SetBack: *setBack}
	all := scrapes.Series()
	for _, of := range all {
		for i := range of {
			of[i] = numbers.Number(of[i])
		}
	}
	for n := *from; n <= *to && ctx.Err() == nil; n++ {
		say("begin %d", n)
		k := scrapes.Target(n)
		scrapes.Fill(&sc, all[k], n)
		if *several {
			// Each life has other numbers for them.
			sc.Target = uint8((k + *from) % spool.MaxTargets)
		}
		if _, err := s.Append(context.Background(), &sc); err != nil {
			return fmt.Errorf("append %d: %w", n, err)
		}
		say("done %d", n)
		if *pause > 0 {
			time.Sleep(*pause)
		}
	}
	if *first {
		send()
	}
	for tick := time.NewTicker(2 * time.Millisecond); cursors[0].Backlog().Samples > 0 && ctx.Err() == nil; {
		<-tick.C
	}
	stop()
	wg.Wait()
	books := struct {
		Appended uint64            `json:"samples_appended"`
		Sent     uint64            `json:"samples_delivered"`
		Lost     map[string]uint64 `json:"samples_lost"`
		Backlog  struct {
			Samples uint64 `json:"samples"`
		} `json:"backlog"`
	}{Appended: cursors[0].Appended(), Lost: map[string]uint64{}}
	tally := cursors[0].Tally()
	books.Sent, books.Backlog.Samples = tally.Delivered, cursors[0].Backlog().Samples
	for i, n := range tally.Lost {
		books.Lost[series.Loss(i).String()] = n
	}
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(closing); err != nil {
		return err
	}
	line, err := json.Marshal(books)
	say("%s", line)
	return err
}
