// Package dea is the DEA's wire: subjects and JSON on one side, the closed
// sets of package messaging on the other. It is pure: no socket, no clock.
//
//	subject, bytes ─▶ Decode      ─▶ Command        a node hears
//	subject, bytes ◀─ Encode      ◀─ Event          a node tells
//	subject, bytes ◀─ EncodeCommand ◀─ Command      a controller or the command line asks
//	subject, bytes ─▶ DecodeEvent ─▶ Event          and hears what a node told
//
// The era is G2b with what G2c added (docs/adr/0009-wire-era.md).
//
//	in    dea.<id>.start  dea.stop  dea.update  dea.find.droplet  dea.locate  dea.discover
//	      dea.status  droplet.status  router.start  healthmanager.start
//	out   dea.start  dea.advertise  dea.heartbeat  dea.shutdown  droplet.exited
//	      router.register  router.unregister, and one reply an instance found
//
// Beside it stands deacon's own wire, version 1. Times are RFC 3339 with
// fractions of a second, names are spelled out, nothing is null:
//
//	deacon.v1.ps         asked with {}; each node answers {node, instances: [...]}
//	deacon.v1.usage      asked with {}; each node answers what it has promised, and what
//	                     each instance uses and is allowed (usage.go)
//	deacon.v1.logs-tail  asked with {application, index, lines}; index -1 or left out is
//	                     every instance, lines (100 by default) counts per instance and
//	                     stream; a node that has lines answers {lines: [...]}
//	deacon.v1.logs.<application>.<index>
//	                     one line: {application, instance, index, stream, at, text}; a text
//	                     that is not valid UTF-8 comes as text_base64; dropped counts the
//	                     bytes lost before it
//	deacon.v1.instance   {node, application, instance, index, from, to, exit_status, signal,
//	                     description, at}
//	deacon.v1.updated    {node, application, was, instance, index, version, uris, at}
//	deacon.v1.asked      {node, subject, application, index, instances, reply, account, by, at}
//	deacon.v1.actor      {node, actor, reason, at}
//
// An answer that is too long for one message comes in several; whoever asked
// adds them up. The application is escaped in the subject, see Token.
//
// What comes in is strict as the DEA's schemas were: required fields, types
// and ranges are checked, unknown fields are not looked at, and a field that
// is null was not given. A message that breaks a rule is refused as a whole by
// an *InvalidError that names the field and the reason and quotes no secret.
package dea
