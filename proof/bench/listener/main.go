// SPDX-License-Identifier: Apache-2.0

// Command listener listens on a loopback socket and does nothing else. It is what
// the idle cost of a Go program is compared with.
package main

import (
	"log"
	"net"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		c.Close()
	}
}
