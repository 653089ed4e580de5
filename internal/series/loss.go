// SPDX-License-Identifier: Apache-2.0

package series

// Loss is a reason for which a sample did not reach an endpoint. It is the one
// list of them: the counters, their labels and the documentation come from it.
// For each endpoint, delivered + every loss + what is still queued = appended.
// The numbers are stored on disk beside the cursors: append, never reorder.
type Loss uint8

const (
	// Refused: the receiver's final answer was no.
	Refused Loss = iota
	// RefusedAfterResend: refused, but the same range had been sent before and
	// its answer was lost; most of it was delivered then.
	RefusedAfterResend
	// TooLarge: answered 413 although it could not be made any smaller.
	TooLarge
	// EvictedSize and EvictedAge: SPOOL_MAX_BYTES or SPOOL_MAX_AGE was reached.
	EvictedSize
	EvictedAge
	// Unreadable: the record on disk was damaged.
	Unreadable
	// Future: stamped more than two minutes ahead of the clock when it was due.
	Future
	// Poison: answered with 5xx for hours while what came behind it was accepted.
	Poison
	// Foreign is retired: earlier releases set another host's scrapes aside.
	Foreign
	// EndpointRemoved: no endpoint has claimed the cursor for seven days.
	EndpointRemoved
	// RingFull: the disk could not be written and the memory ring overflowed.
	RingFull
	// Relabelled: dropped by the endpoint's own write_relabel_configs, or by its
	// send_native_histograms or SEND_NATIVE_HISTOGRAMS.
	Relabelled
	// Unsupported: remote write 1.0 cannot carry it (custom-bucket histograms).
	Unsupported

	// Losses is the number of reasons.
	Losses int = iota
)

var lossNames = [Losses]string{
	"refused", "refused_after_resend", "too_large", "evicted_size", "evicted_age", "unreadable",
	"future", "poison", "foreign", "endpoint_removed", "ring_full", "relabelled", "unsupported",
}

// String is the reason as it stands in metrics, status and documentation.
func (l Loss) String() string {
	if int(l) < len(lossNames) {
		return lossNames[l]
	}
	return "unknown"
}

// Tally says what became of a number of samples.
type Tally struct {
	// Delivered counts samples that a receiver confirmed or did not deny.
	Delivered uint64
	// Lost counts the others by reason.
	Lost [Losses]uint64
}

// Sum is the number of samples that the tally accounts for.
func (t *Tally) Sum() uint64 {
	n := t.Delivered
	for _, l := range t.Lost {
		n += l
	}
	return n
}

// Add adds what became of other samples.
func (t *Tally) Add(o Tally) {
	t.Delivered += o.Delivered
	for i, l := range o.Lost {
		t.Lost[i] += l
	}
}
