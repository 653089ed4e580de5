// SPDX-License-Identifier: Apache-2.0

// Package spool is the durable queue between the scraper and the senders: one
// FIFO of scrapes on disk and, for each endpoint, a cursor into it.
package spool
