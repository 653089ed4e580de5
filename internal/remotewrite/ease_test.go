// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An overloaded receiver's first acceptance does not open the floodgates: the waits go back
// the way they came, halved with each; a 429 in between goes on from there, and never
// beyond a quarter of the time since the first of all. A narrowed request changes nothing.
func TestEaseUndoesFailures(t *testing.T) {
	d := Delays{500 * time.Millisecond, time.Minute}
	rapid.Check(t, func(t *rapid.T) {
		random := func() float64 { return rapid.Float64Range(0, 0.999).Draw(t, "random") }
		now := time.Unix(1_800_000_000, 0)
		first := now
		var b Backoff
		var wait time.Duration
		for range rapid.IntRange(1, 60).Draw(t, "failures") {
			b, wait = b.Failed(d, now, true, random)
			now = now.Add(wait)
		}
		level := b.level
		if level < d.Min || level > d.most(now.Sub(first)) {
			t.Fatalf("%s have built up in %s", level, now.Sub(first))
		}
		if same, wait := b.Accepted(d, true, random); same != b || wait != 0 {
			t.Fatalf("a narrowed request: %+v after %+v, waits %s", same, b, wait)
		}
		for n := 0; ; n++ {
			level /= 2
			if b, wait = b.Accepted(d, false, random); wait == 0 {
				break
			}
			if wait < level-1 || wait > 2*level {
				t.Fatalf("%s are left: waits %s", level, wait)
			}
			if n > 10 {
				t.Fatal("never back to no wait")
			}
			if _, more := b.Failed(d, now, true, random); more > min(2*level, d.most(now.Sub(first))) {
				t.Fatalf("a 429 while it eases off: waits %s", more)
			}
			if _, other := b.Failed(d, now, false, random); other > d.Min {
				t.Fatalf("another failure while it eases off: waits %s", other)
			}
		}
		if level >= d.Min {
			t.Errorf("no wait with %s left", level)
		}
		if b != (Backoff{}) {
			t.Errorf("something is left: %+v", b)
		}
	})
}
