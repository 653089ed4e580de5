// SPDX-License-Identifier: Apache-2.0

// Package spool is the durable queue between the scraper and the senders: one
// FIFO of scrapes on disk and, for each endpoint, a cursor into it.
//
// # The contract
//
//	Append   a scrape is on disk and synced, or, where the disk refuses, in a bounded ring in memory
//	Read     what lies at or behind a cursor, merged by series; moves nothing
//	Begin    what is about to leave stays until End, and the sender's note is kept
//	Ack      a final answer: the cursor moves, with what became of the samples and the note
//	Claim    each endpoint gets its cursor; a cursor that none claims pins nothing, and goes
//	         after seven days of running
//
// A Spool is three things. The log (log.go, ring.go, writer.go, load.go, locate.go) has
// the scrapes, and knows no cursor. The table (table.go, cursors.go, slot.go) has the
// cursors and their books, and does not know where the scrapes are. The queue
// (spool.go, room.go, claim.go, cursor.go, read.go) is what joins the two.
//
// # What survives
//
// When Append returns nil, the scrape survives kill -9, a crash of the kernel and
// a power cut. When it returns an error that wraps ErrNotDurable, the scrape waits
// in the ring, is sent from there like any other, is written as soon as the disk takes
// it, and is lost only if the process ends before that, or if the ring overflows
// (ring_full). Nothing is handed to a reader before one of the two is settled.
//
// When Ack returns, the move survives kill -9. After a power cut an older place of
// the cursor may come back: samples are sent again then, none is skipped. The same
// holds after kill -9 if the disk kept Ack waiting for longer than its patience.
//
// For each endpoint the samples delivered, lost under a reason and still waiting
// are together what was appended, at any time, over all of these ends. Every place in
// the queue carries its count, so that this is a subtraction.
//
// # What goes before it was sent
//
// Evicting is final: the cursors that stood in the oldest segment stand behind it, and
// what they had not acknowledged is lost there and then. It never happens under an
// attempt: Begin evicts what is due and keeps the rest until End, by which the disk and
// the ring may exceed their caps by what is scraped meanwhile. A full disk does not
// wait. Whoever stood at what was evicted is told ErrMoved, and begins anew.
//
// Two things are not lost from the front. Scrapes that the ring had to drop while older
// ones wait on disk: what comes behind such a gap remembers where it begins (lostFrom),
// on disk in the segment's header. And what goes while nobody claims a cursor: it is
// booked as endpoint_removed when the cursor is claimed again, in rejoin.
//
// Ages are judged by a clock that may be wrong: see clock.go.
//
// # Targets
//
// The log has one order, that in which scrapes came, and one sequence of numbers and
// counts; whose scrape it is matters in three places. Time grows strictly from one scrape
// of a target to its next, while those of others may be stamped earlier or later: a scrape
// is stamped at its beginning and comes at its end. A record is written against the
// target's record before. And the tail of the ring is counted for each.
//
// A target is a number that the caller gives, 0 the engine's. It is good for one process:
// a start begins a new segment, in each segment a target has its own definitions, and who
// it was the labels say. So a target may be renamed, removed, or get another's number over
// a restart, and nothing on disk needs to know. Nobody but the merge compares numbers over
// segments: it ends a batch in front of a scrape that is not later than the one before of
// that number, which is a request more where the number became another target's.
//
// Append need not be told that the clock was set back. Whoever decides that scrapes go on
// with the new time, one watcher for all targets, appends one that is not later than the
// one before of its target, and that is the mark: a new segment, which no batch reaches
// across. From there on nothing is known of the times before, so that the other targets'
// scrapes, set back as well, make no further marks. A target that is scraped so rarely
// that its time grew all the same needs none. What is known of times at a start, when
// nobody knows which target had which number, is the latest since the last mark, for all:
// that of the newest segment's records, and what its header says of those before.
//
// The series of two targets differ, in job and instance. One that moves from one to the
// other, as own metrics may, is defined anew with it; that its time grows is the caller's
// to see to.
//
// # The order of system calls
//
// One goroutine makes every call that changes a file, and each Read has one, so that
// nobody waits for the disk longer than he wants to; who asks for the state never does.
//
//	scrape into the open segment   pwrite segment, fdatasync segment
//	scrape into a new segment      open O_CREAT|O_EXCL, pwrite header and record, fsync, fsync directory
//	Begin                          pwrite one slot of the cursor file, fdatasync cursors
//	Ack                            pwrite one slot of the cursor file
//	a segment is removed           pwrite slots, fdatasync cursors, unlink
//	Claim, Close                   pwrite slots, fdatasync cursors
//	a write or sync failed         ftruncate to the last good length, or unlink; then a new segment
//	a file's name is gone          mkdir, fsync of the parents, open lock and cursors, fsync directory
//
// A cursor that moves needs no sync of its own: an older state of a slot names an older
// place, and every segment from there on is still there, because none is removed
// before the cursors that allow it are on disk. After a sync that failed nothing is
// known of the pages in question, and a second sync would report success without
// having written them; so the segment is given up, and what it should have held is
// written again, from memory, to a new one.
//
// Before scrapes are written the open segment is asked whether it has a name at all, and
// with its second scrape that one, the cursors and the lock are looked up by theirs. A file
// that has none any more, or whose name is another file's, was deleted or moved away by
// somebody: it is begun anew, the directory with it if need be (restore.go), and where the lock
// cannot be had again the disk counts as refusing. Between two scrapes nobody looks;
// what was in the deleted files is lost whenever it is noticed.
//
// Nothing is removed, cut or overwritten because a read failed. What goes: a segment that
// every endpoint has passed or lost, once the cursors are synced; of the newest segment
// what lies behind its last whole record, when all of it could be read; a newest
// segment that was read whole and holds no record; what a write that failed left behind.
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
// nothing else is ever taken away. Only that segment is read through; of the
// others only the headers are, so that the time a start takes does not depend on
// the backlog. A new segment is begun with the next scrape.
//
// Elsewhere a damaged record costs itself and, since nobody knows whose it was, of each
// target those behind it up to the next one in full, at most 59; the one that defines the
// series, which is a target's first in a segment, costs that target's, at most an hour. A damaged header costs nothing. A reader
// finds out when it comes there: it looks byte by byte for the next record whose
// checksum holds, logs path and offset, and says exactly how many samples are
// missing, because each record has the count of all samples before it. A damaged
// cursor costs nothing either: its endpoint starts at the oldest scrape.
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
// Segments are of version 1 until a scrape of another target than 0 comes, and are then of
// version 2 until the process ends. With the engine alone all bytes are those that the
// first release wrote. A release that knows version 1 alone leaves a directory with segments
// of version 2 as it is, cursors and all, and begins spool-v1-1; a later one goes on in
// spool-v1 as if nothing had been, and leaves what waits in spool-v1-1.
//
//	lock                       held with flock
//	cursors                    slots of 512 bytes
//	NNNNNNNNNNNNNNNNNNNN.seg   segments; the name is the first sequence number
//	*.seg.foreign              set aside by an earlier release; removed when older than seven days
//
// Numbers are little-endian; uv is an unsigned varint, sv a zigzag one.
//
//	segment := header record...
//
//	header (48 bytes)
//	 0        8   10    12  13     16       24       32      40     44
//	 +--------+---+-----+---+------+--------+--------+-------+------+-----+
//	 |DRWspool|ver|flags|gap| zero | first  |  cum   | time  |ahead | crc |
//	 +--------+---+-----+---+------+--------+--------+-------+------+-----+
//	 ver: 2 where records may be of other targets than 0, else 1
//	 flags 1: the clock was set back before this segment; gap: why sequence
//	 numbers are missing before it; first: sequence number of the first scrape;
//	 cum: samples appended before it; time: of the first scrape, in ms; ahead: by how
//	 much the latest of those before, back to the last such flag, is later, or 0
//
//	record
//	 0     4    5       6
//	 +-----+----+-------+-----------+-------------------------------------+
//	 | crc | d7 | flags | uv length | uv seq-first, sv time, uv cum, uv n, |
//	 |     |    |       |           | [target,] body                      |
//	 +-----+----+-------+-----------+-------------------------------------+
//	 crc: CRC-32C of first and offset, 8 bytes each, and of all behind crc, so
//	 that a record is good in its own place only
//	 flags: 1 full, 2 definitions, 4 order, 8 starts, 16 blob, 32 body in snappy,
//	 64 target, a byte, else it is 0. Ids, and what a record builds upon, are those
//	 of the target in the segment
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
//	 | DRWc |ver|kind|zero| generation |  the spool's | a cursor's  | crc |
//	 +------+---+----+----+------------+---------------------------+-----+
//	 a cursor's: hashes of name and URL, 16 bytes each; position and barrier (scrape 8,
//	 ordinal 4, count 8 bytes); 28 unused; created 8; unclaimed since 8; end of the log
//	 16; tally 25 times 8; name 1 + 96; ms unclaimed 8; flags 1 (1 an answer was lost,
//	 2 speaks 2.0, 4 speaks 1.0); fell back 8; request size 8
//
// # Decisions
//
// Measured on the recorded 60 scrapes of a real engine, 15 s apart, 411 series
// (BenchmarkAppend, BenchmarkRead): 0.28 B a sample on disk, all included. A record
// is about 75 bytes, 19 of them its envelope; the definitions are 7 KB a segment, a
// quarter of an hour's segment. Three targets with 411, 700 and 3,000 series take 1.4 %
// more together than each alone (TestDiskOfThreeTargets).
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
