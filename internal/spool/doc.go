// SPDX-License-Identifier: Apache-2.0

// Package spool is the durable queue between the scraper and the senders: one
// FIFO of scrapes on disk and, for each endpoint, a cursor into it.
//
// # What survives
//
// When Append returns nil, the scrape survives kill -9, a crash of the kernel and
// a power cut. When it returns an error that wraps ErrNotDurable, the scrape waits
// in a bounded ring in memory, is sent from there like any other, is written as
// soon as the disk takes it, and is lost only if the process ends before that, or
// if the ring overflows (ring_full). Nothing is handed to a reader before one of
// the two is settled.
//
// When Ack returns, the move survives kill -9. After a power cut an older place of
// the cursor may come back: samples are sent again then, none is skipped. The same
// holds after kill -9 if the disk kept Ack waiting for longer than its patience.
//
// For each endpoint the samples delivered, lost under a reason and still waiting
// are together what was appended, at any time, over all of these ends.
//
// # The order of system calls
//
// One goroutine makes every call that changes a file, so that Append, Ack and
// Close never wait for the disk longer than they want to.
//
//	scrape into the open segment   pwrite segment, fdatasync segment
//	scrape into a new segment      open O_CREAT|O_EXCL, pwrite header and record, fsync, fsync directory
//	Begin, Ack                     pwrite one slot of the cursor file
//	a segment is removed           pwrite slots, fdatasync cursors, unlink
//	Claim, Close                   pwrite slots, fdatasync cursors
//	a write or sync failed         ftruncate to the last good length, or unlink; then a new segment
//
// Cursors need no sync of their own: an older state of a slot names an older
// place, and every segment from there on is still there, because none is removed
// before the cursors that allow it are on disk. After a sync that failed nothing is
// known of the pages in question, and a second sync would report success without
// having written them; so the segment is given up, and what it should have held is
// written again, from memory, to a new one.
//
// # What is assumed of the disk
//
//  1. After fsync or fdatasync returned without an error, what was written before
//     is there after a power cut, the length of the file included.
//  2. After fsync of the directory, so is the name of a file created in it.
//  3. A write of 512 bytes to an aligned place within a file is done as a whole or
//     not at all; if not, the checksum tells, and the slot beside it is older.
//  4. Writing does not change bytes elsewhere. If it does, or bits rot, checksums
//     tell, and it is treated as damage.
//
// # What is found at a start, and what is done
//
// What of the newest segment is no whole record is a torn tail: it is cut off, and
// nothing else is ever taken away. If the disk refuses to read that segment, nothing is:
// new scrapes get numbers beyond all that it may hold, and a reader reads it when its
// turn comes. After a crash it may then turn out to hold more samples than the cursor
// file knew of; they are sent, and not counted. Only that segment is read through; of the
// others only the headers are, so that the time a start takes does not depend on
// the backlog. A new segment is begun with the next scrape.
//
// Elsewhere a damaged record costs itself and those behind it up to the next one
// in full, at most 59; the one that defines the series, which is a segment's first,
// costs the segment, at most an hour. A damaged header costs nothing. A reader
// finds out when it comes there: it looks byte by byte for the next record whose
// checksum holds, logs path and offset, and says exactly how many samples are
// missing, because each record has the count of all samples before it. A damaged
// cursor costs nothing either: its endpoint starts at the oldest scrape.
//
// A disk that refuses is not damage. A process that has no descriptor or memory left
// asks again for as long as it takes; of a segment that the disk refuses otherwise,
// several times, what is left counts as unreadable, so that what lies behind it gets
// through.
//
// # What is removed, cut or renamed, and what proves that it may be
//
// Nothing is for a read that failed.
//
//	a segment is removed                all endpoints have acknowledged it, and nobody
//	                                    failed to read it, or read it to its end later;
//	                                    or MaxBytes, MaxAge or a full disk takes it, and
//	                                    what is lost with it is counted
//	the newest is removed at a start    all of it was read, header too: it has no record
//	the newest is cut at a start        all of it was read: no record ends behind there
//	a new one is removed, an open one   the writer made it; what is not synced is still
//	cut, after a failed write           in memory
//	one that exists is removed to       its number is free: what is there is one of the
//	create one of that name             two above whose removal failed
//	segments are renamed .foreign       the engine's identity, from a scrape, differs
//	.foreign is removed                 seven days have run, or MaxBytes takes it
//	a cursor is deleted                 unclaimed while the process ran seven days
//
// # Clocks
//
// A wall clock may be wrong: 1970 at a start, ahead for a while, set back. So MaxAge goes
// by the lowest that it has shown, running on from there, in the last hour or two, and
// not before it was watched for an hour. No scrape's stamp but a segment's own first one
// counts. A host that was off or suspended drops what is too old an hour later. The
// seven days of an unclaimed cursor and of another host's segments are counted while the
// process runs, by the monotonic clock, and stored in their slots every ten minutes and
// at the end; slots of older releases have 0 there.
//
// # The undecidable case
//
// The case that cannot be told from a torn write: the last records of the newest
// segment were synced, and are damaged, and no cursor was written since. Otherwise
// the cursor file, which has the count too, proves that something is missing, and
// the samples are counted as unreadable.
//
// # The files
//
// All lie in spool-v1 within the data directory; its other files are not touched.
// A directory of a later version is left alone; if spool-v1 itself holds a file
// that says it is of a later version, spool-v1-1 is used instead.
//
//	lock                       held with flock
//	cursors                    slots of 512 bytes
//	NNNNNNNNNNNNNNNNNNNN.seg   segments; the name is the first sequence number
//	*.seg.foreign              another host's, removed after seven days of running or for room
//
// Numbers are little-endian; uv is an unsigned varint, sv a zigzag one.
//
//	segment := header record...
//
//	header (48 bytes)
//	 0        8   10    12  13     16       24       32      40     44
//	 +--------+---+-----+---+------+--------+--------+-------+------+-----+
//	 |DRWspool|ver|flags|gap| zero | first  |  cum   | time  | zero | crc |
//	 +--------+---+-----+---+------+--------+--------+-------+------+-----+
//	 flags 1: the clock was set back before this segment; gap: why sequence
//	 numbers are missing before it; first: sequence number of the first scrape;
//	 cum: samples appended before it; time: of the first scrape, in ms
//
//	record
//	 0     4    5       6
//	 +-----+----+-------+-----------+-------------------------------------+
//	 | crc | d7 | flags | uv length | uv seq-first, sv time, uv cum, uv n, |
//	 |     |    |       |           | body                                |
//	 +-----+----+-------+-----------+-------------------------------------+
//	 crc: CRC-32C of first and offset, 8 bytes each, and of all behind crc, so
//	 that a record is good in its own place only
//	 flags: 1 full, 2 definitions, 4 order, 8 starts, 16 blob, 32 body in snappy
//
//	body := [definitions] [uv number of histograms] [order] values [starts] [blob]
//	definitions := uv first id, uv count, (uv labels, (name, value)..., metadata)...
//	metadata := 0, as that of the series before | 1 type help unit | 2 type help unit family
//	order := uv runs, (sv distance from the end of the run before, uv length)...
//	values := (uv unchanged, token)...   codec.go has the tokens
//	starts := (uv unchanged, sv difference)...
//	blob := ids, exemplars' indexes, io.prometheus.write.v2.Request
//
//	slot (512 bytes, two for each thing, the older one is written over)
//	 0      4   6    7    8            16                          508   512
//	 +------+---+----+----+------------+---------------------------+-----+
//	 | DRWc |ver|kind|zero| generation |  state | cursor           | crc |
//	 +------+---+----+----+------------+---------------------------+-----+
//
// # Decisions
//
// Measured on the recorded 60 scrapes of a real engine, 15 s apart, 411 series
// (BenchmarkAppend, BenchmarkRead): 0.28 B a sample on disk, all included. A record
// is about 75 bytes, 19 of them its envelope; the definitions are 7 KB a segment, a
// quarter of an hour's segment.
//
// Values go through tokens, not through a general compressor alone: XORed columns
// of 8 bytes a sample take 0.55 B in snappy and 0.23 in zstd; tokens take 0.19 as
// they are and 0.15 in snappy, 0.17 in zstd, whose frames cost more than they save.
// For whole segments zstd would take 0.215 B a sample for bodies where snappy takes
// 0.227, for 0.5 MB of heap and 0.4 MB of binary; snappy is linked for remote write
// anyway.
//
// The framing is not tsdb/wlog's: that cuts records at pages of 32 KiB, ends its
// repair at the first damage and drops all behind it, has no place for sequence
// numbers and counts, and adds 0.65 MB to the binary; its samples take 9.9 B each.
// tidwall/wal refuses to open a log that is damaged and keeps the places of all
// records of a segment in memory; hashicorp/raft-wal has a database beside it.
package spool
