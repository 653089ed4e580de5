// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An overloaded receiver's first acceptance does not open the floodgates: the
// delays go back the way they came.
func TestEaseUndoesNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := func() float64 { return rapid.Float64Range(0, 0.999).Draw(t, "random") }
		b := Backoff{Min: 500 * time.Millisecond, Max: time.Minute}
		n := rapid.IntRange(0, 20).Draw(t, "failures")
		for range n {
			if d := b.Next(random); d < b.Min || d > b.Max {
				t.Fatalf("a delay of %s", d)
			}
		}
		steps := 0
		for ; ; steps++ {
			d := b.Ease(random)
			if d == 0 {
				break
			}
			if d < b.Min || d > b.Max {
				t.Fatalf("eased to %s", d)
			}
			if steps > 10 {
				t.Fatal("never back to no delay")
			}
		}
		if n > 0 && n <= 7 && steps != n-1 {
			t.Errorf("%d failures took %d accepted requests to be forgotten", n, steps)
		}
		if d := b.Next(random); d < b.Min || d > 2*b.Min {
			t.Errorf("after easing off the first delay is %s", d)
		}
	})
}
