// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"fmt"

	"github.com/docker-remote-write/docker-remote-write/internal/series"
)

// Lost counts lost samples by reason. In JSON it is an object with every reason
// as a key, whether or not anything was lost for it.
type Lost [series.Losses]uint64

// Sum is the number of samples lost for any reason.
func (l *Lost) Sum() uint64 {
	var n uint64
	for _, v := range l {
		n += v
	}
	return n
}

// MarshalJSON writes the reasons in the order of their enumeration.
func (l Lost) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, n := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%q:%d", series.Loss(i).String(), n)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON ignores reasons that it does not know: a newer forwarder may
// have more of them.
func (l *Lost) UnmarshalJSON(b []byte) error {
	var m map[string]uint64
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("lost samples: %w", err)
	}
	*l = Lost{}
	for i := range l {
		l[i] = m[series.Loss(i).String()]
	}
	return nil
}

// Classes of answers. They are few because each is a series that exists from the
// start at 0: a counter that appears with its first event hides that event from
// increase() and rate(). The exact answer stands in the status and in the log.
const (
	class2xx = iota
	class4xx
	class5xx
	classError
	classes
)

var classNames = [classes]string{"2xx", "4xx", "5xx", "error"}

var protocolNames = [...]string{"2.0", "1.0"}

// Requests counts requests by protocol and class of answer. In JSON it is an
// object of objects: {"2.0": {"2xx": 0, "4xx": 0, "5xx": 0, "error": 0}, "1.0": ...}.
type Requests [len(protocolNames)][classes]uint64

// Add counts n requests in a protocol ("2.0" or "1.0") that were answered with a
// status code. A code of 0 stands for no answer at all and is counted under
// "error", as are those outside 200 to 299 and 400 to 599.
func (r *Requests) Add(protocol string, code int, n uint64) {
	p := 0
	if protocol == protocolNames[1] {
		p = 1
	}
	r[p][class(code)] += n
}

func class(code int) int {
	switch code / 100 {
	case 2:
		return class2xx
	case 4:
		return class4xx
	case 5:
		return class5xx
	default:
		return classError
	}
}

// Sum is the number of requests.
func (r *Requests) Sum() uint64 {
	var n uint64
	for _, p := range r {
		for _, c := range p {
			n += c
		}
	}
	return n
}

// MarshalJSON writes both protocols and every class.
func (r Requests) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, p := range r {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%q:{", protocolNames[i])
		for j, n := range p {
			if j > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, "%q:%d", classNames[j], n)
		}
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

// UnmarshalJSON ignores protocols and classes that it does not know.
func (r *Requests) UnmarshalJSON(b []byte) error {
	var m map[string]map[string]uint64
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("requests: %w", err)
	}
	*r = Requests{}
	for i := range r {
		for j := range r[i] {
			r[i][j] = m[protocolNames[i]][classNames[j]]
		}
	}
	return nil
}
