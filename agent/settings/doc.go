// Package settings reads what people write in HCL: a node's configuration, a
// scenario of faults. Attributes become typed values within bounds, and
// everything that is wrong with a file is told at once, each with its line and
// with what was probably meant.
//
//	bytes ── Parse ──▶ the caller's blocks, attributes as written ── Reader ──▶ the caller's values, or an *Error
package settings
