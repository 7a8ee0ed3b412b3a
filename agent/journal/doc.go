// Package journal keeps values by name in one file that is only added to. What
// was appended is found again by whoever opens the file next, also where the
// one before was killed in the middle of a write.
//
// A line is a change: its checksum (CRC-32, IEEE, of all that follows, eight
// hexadecimal digits), a name, and the name's value from then on as JSON, or "-"
// where it is forgotten:
//
//	5d1c2b3a 3f0a… {"state":"RUNNING",…}
//	00c1d2e3 3f0a… -
//
// Some room on the disk is the journal's before it needs it, so that changes are
// taken while the disk is full.
//
// A file for each value would do the same for ten times the price: a start
// changes its instance's record three times, and making, filling and renaming a
// file is mostly the file system's own bookkeeping.
package journal
