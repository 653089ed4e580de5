// SPDX-License-Identifier: Apache-2.0

// Command floor does the input and output of an agent and nothing else: what an
// agent written in Go cannot be below. Once an interval it reads the target's
// answer over a connection that it keeps, appends 140 bytes to a file and syncs
// it, and posts a file of some kilobytes.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 6 {
		log.Fatal("usage: floor TARGET URL BODY FILE INTERVAL")
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		log.Fatal(err)
	}
}

func run(target, url, body, file, interval string) error {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(50)
	every, err := time.ParseDuration(interval)
	if err != nil {
		return err
	}
	request, err := os.ReadFile(body)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	answers, record := bufio.NewReaderSize(conn, 64<<10), make([]byte, 140)
	for range time.Tick(every) {
		if _, err := fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n", target); err != nil {
			return err
		}
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		if err := discard(res); err != nil {
			return err
		}
		if _, err := f.Write(record); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(request))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Encoding", "snappy")
		if res, err = http.DefaultTransport.RoundTrip(req); err != nil {
			return err
		}
		if err := discard(res); err != nil {
			return err
		}
		if res.StatusCode != http.StatusNoContent {
			return fmt.Errorf("the receiver answered %s", res.Status)
		}
	}
	return nil
}

func discard(res *http.Response) error {
	defer res.Body.Close()
	_, err := io.Copy(io.Discard, res.Body)
	return err
}
