// SPDX-License-Identifier: Apache-2.0

package remotewrite

// tooSmallToSplit is the size of an uncompressed request below which a 413 is
// final.
const tooSmallToSplit = 64 << 10

// verdict is what an answer means for the samples of the request.
type verdict uint8

const (
	// delivered: the receiver has them.
	delivered verdict = iota
	// again: kept, resent after a backoff.
	again
	// split: kept, resent as halves.
	split
	// tooLarge: dropped; it cannot be made any smaller.
	tooLarge
	// otherProtocol: kept, resent in the other protocol, which is now the choice.
	otherProtocol
	// tryV1: the same once in 1.0; 2.0 stays the choice unless that is accepted.
	tryV1
	// counted: final, and the Written headers say how much was stored.
	counted
	// narrowed: kept, resent scrape by scrape.
	narrowed
	// bare: kept, resent without its exemplars.
	bare
	// floats: kept, resent without its native histograms, which are dropped if that is accepted.
	floats
	// refused: dropped.
	refused
	// refusing: the endpoint as a whole says no, or is not there.
	refusing
)

var verdictNames = [...]string{
	"delivered", "kept, to be resent", "kept, to be resent in halves", "dropped as too large",
	"kept, to be resent in the other protocol", "kept, to be tried once in 1.0",
	"final, partly written", "kept, to be resent scrape by scrape", "kept, to be resent without exemplars", "kept, to be resent without native histograms", "dropped as refused",
	"the endpoint is refusing",
}

func (v verdict) String() string { return verdictNames[v] }

// question is what of a request and of the endpoint the meaning of an answer
// depends on.
type question struct {
	proto       Protocol
	pinned      bool // REMOTE_WRITE_PROTOCOL leaves no choice
	v2Accepted  bool // 2.0 has succeeded on this URL
	otherFailed bool // the other protocol was not understood for this request either
	mergeable   bool // it holds more scrapes than the narrowing would send at once, and no sample of it was written
	divisible   bool // it holds more than one sample
	exemplars   bool // it has some, and no sample of it was written
	histograms  bool // likewise of native histograms
	final429    bool // retry_on_http_429 is false
	raw         int  // bytes before compression
}

// judge gives every answer its one meaning. status is 0 when there was none;
// written tells whether it had any X-Prometheus-Remote-Write-*-Written header.
// The body is never looked at.
func judge(q question, status int, written bool) verdict {
	ok := status >= 200 && status <= 299
	switch {
	case ok && (q.proto == V1 || written):
		return delivered

	case ok, status == 415, q.proto == V2 && (status == 405 || status == 406):
		// A 2xx to 2.0 without a Written header comes from a receiver that read it
		// as an empty 1.0 request. The samples are not there. Some say 405 or 406 to
		// what they do not know.
		if q.pinned || q.otherFailed {
			return refused
		}
		return otherProtocol

	case status == 413:
		if q.raw < tooSmallToSplit || !q.divisible {
			return tooLarge
		}
		return split

	case status == 400, status == 409, status == 422:
		switch {
		case q.exemplars:
			// Receivers say no to samples that they have stored for an exemplar that is
			// older than another one.
			return bare
		case q.mergeable:
			// Prometheus throws a whole 1.0 request away for one bad sample in it, others
			// one of 2.0 as well.
			return narrowed
		case q.histograms:
			// A receiver that takes none shall get the rest.
			return floats
		case q.proto == V2 && written:
			return counted
		case q.proto == V2 && !q.v2Accepted && !q.pinned && !q.otherFailed:
			// A receiver of 1.0 may fail to parse 2.0 and say no more than that.
			return tryV1
		default:
			return refused
		}

	case status == 401, status == 402, status == 403, status == 404, status == 407:
		return refusing

	case status >= 300 && status <= 399:
		// Those that are followed never come here. Any other redirect is for an
		// operator to resolve, by setting its target as the URL.
		return refusing

	case status == 429 && q.final429:
		return refused

	case status == 408, status == 421, status == 425, status == 429:
		return again

	case status >= 400 && status <= 499:
		if q.histograms {
			return floats
		}
		return refused

	default:
		// No answer, 1xx as the final one, 5xx, 6xx and above.
		return again
	}
}
