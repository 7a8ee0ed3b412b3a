// Package output follows what jobs write. A job's file descriptors 1 and 2 are
// append-only files of the state folder, so writing goes on whether or not an
// agent is alive; here the files become lines.
//
//	jobs/<n>/stdout ─┐                      ┌─▶ emit(lines) ─▶ offsets record
//	jobs/<n>/stderr ─┴─ one inotify a node ─┘
//
// Lines come at least once. The offsets record is written after a line was
// taken, at most every SaveEvery and at the end, so an agent that is killed
// resends what it sent in its last moments, and never skips a line.
//
// PID 1 bounds the files by punching out what is old. What it punched out
// before it was read is skipped and counted in Line.Dropped, up to the end of
// the line that the hole cut in two. An application that truncates its own
// file loses its own unread lines and nobody else's.
//
// The package never writes to an output file.
package output
