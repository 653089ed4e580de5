// SPDX-License-Identifier: Apache-2.0

package remotewrite

import "github.com/golang/snappy"

// compress writes raw in snappy's block format, as both protocols demand, into
// dst's memory if it is large enough.
func compress(dst, raw []byte) []byte {
	return snappy.Encode(dst[:cap(dst)], raw)
}
