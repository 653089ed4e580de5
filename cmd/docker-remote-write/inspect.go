// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/docker-remote-write/docker-remote-write/internal/spool"

// runSpool prints what lies in a data directory. Damage makes the exit status 1.
func runSpool(c call) error {
	if len(c.args) != 1 {
		return usageError{"one data directory is expected"}
	}
	r, err := spool.Inspect(c.args[0])
	if err != nil {
		return err
	}
	if err := r.Write(c.stdout); err != nil {
		return err
	}
	if !r.Healthy() {
		return statusError(exitFailed)
	}
	return nil
}
