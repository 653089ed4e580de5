// SPDX-License-Identifier: Apache-2.0

// Package chaos has only tests: they kill the program at random moments, put
// hostile networks and receivers in front of it, and then compare what a real
// Prometheus holds with what was to arrive, sample by sample. Each test prints its
// seed; CHAOS_SEED repeats it. TEST_LOOPS makes them longer.
package chaos
