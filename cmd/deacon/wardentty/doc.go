// Package wardentty uses the shell of Warden's socket (deacon warden) as a
// person does, in a pseudo-terminal, for tests: of the shell beside it, and of
// whole nodes, which must give the same transcript.
//
//	Start    runs a program in a terminal of its own
//	Session  has the conversation of Warden's old introductions in one: list,
//	         stop, destroy, create, info, spawn, link
//	         (TextSession in the text commands of Warden's first version)
//	Golden   is what Session returns, whoever is behind the socket (TextGolden)
//
// It needs no root, and imports nothing of ours.
package wardentty
