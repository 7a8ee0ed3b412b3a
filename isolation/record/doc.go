// Package record keeps small facts on disk: one JSON value a file, with a
// checksum, replaced as a whole. A reader sees the old value, the new one or
// ErrCorrupt, never a mixture.
//
// Save doesn't wait for the disk: kernel objects don't survive a power failure
// either, so the intent to make them need not. What was acknowledged and must
// outlive one goes through SaveDurable, off the way of a start.
package record
