// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/docker-remote-write/docker-remote-write/internal/panics"
)

// key says which lines are repeats of each other.
type key struct{ message, subject, kind string }

// subjects are the fields that name what a line is about.
var subjects = [...]string{"endpoint", "setting", "problem", "name", "at", "status", "verdict", "code", "reason"}

// keyOf is the entry's level and constant message, what it is about and the kind of its
// error, all without figures, which differ between repeats.
func keyOf(e *logrus.Entry) key {
	k := key{message: e.Level.String() + plain(e.Message)}
	for _, f := range subjects {
		if v, ok := e.Data[f]; ok {
			k.subject += cut(text(v), 200) + "\x00"
		}
	}
	if err, ok := e.Data[logrus.ErrorKey].(error); ok {
		k.kind = kind(err)
	} else if v, ok := e.Data[logrus.ErrorKey]; ok {
		k.kind = head(text(v))
	}
	return k
}

// kind tells errors of different causes apart and those of the same cause not.
func kind(err error) (k string) {
	if panics.Guard("an error's method", func() { k = kindOf(err) }) != nil {
		return fmt.Sprintf("%T", err)
	}
	return k
}

func kindOf(err error) string {
	var (
		kinder interface{ Kind() string }
		errno  syscall.Errno
		dns    *net.DNSError
		neterr net.Error
	)
	switch {
	case errors.As(err, &kinder):
		return kinder.Kind()
	case errors.As(err, &errno):
		return fmt.Sprintf("errno %d", errno)
	case errors.As(err, &dns):
		return "dns"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &neterr) && neterr.Timeout():
		return "timeout"
	}
	return head(err.Error())
}

// head is what an error begins with: what follows its second colon may be a
// receiver's own words.
func head(s string) string {
	end := len(s)
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if j := strings.IndexByte(s[i+1:], ':'); j >= 0 {
			end = i + 1 + j
		}
	}
	return plain(s[:min(end, 80)])
}

// plain puts # for every number.
func plain(s string) string {
	s = cut(s, 200)
	var b strings.Builder
	digits := false
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' {
			if !digits {
				b.WriteByte('#')
			}
			digits = true
			continue
		}
		digits = false
		b.WriteByte(c)
	}
	return b.String()
}
