// Package tidy keeps the rules that are about the text of this repository, as
// tests: which package may import which, how long a function may be, what the
// actors may not call, what a document may name. A rule that isn't here is a
// habit, not a rule.
//
// Each failure is a line of its own, with the place where to mend it. Where a
// rule has exceptions they are listed beside it with the reason, and one that
// is needed no more fails too: the lists only shrink.
package tidy
