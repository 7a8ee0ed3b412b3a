package dea

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What a node is asked on. StartSubject makes the one that has its id inside.
const (
	SubjectStop               = "dea.stop"
	SubjectUpdate             = "dea.update"
	SubjectFind               = "dea.find.droplet"
	SubjectLocate             = "dea.locate"
	SubjectDiscover           = "dea.discover"
	SubjectStatus             = "dea.status"
	SubjectDropletStatus      = "droplet.status"
	SubjectRouterStart        = "router.start"
	SubjectHealthManagerStart = "healthmanager.start"
	SubjectComponents         = "vcap.component.discover"
	SubjectPS                 = "deacon.v1.ps"
	SubjectActors             = "deacon.v1.actors"
	SubjectLogsTail           = "deacon.v1.logs-tail"
)

// What a node tells on. LogsSubject makes the ones for lines.
const (
	SubjectStarted    = "dea.start"
	SubjectGreet      = "router.greet"
	SubjectAdvertise  = "dea.advertise"
	SubjectHeartbeat  = "dea.heartbeat"
	SubjectShutdown   = "dea.shutdown"
	SubjectExited     = "droplet.exited"
	SubjectRegister   = "router.register"
	SubjectUnregister = "router.unregister"
	SubjectAnnounce   = "vcap.component.announce"
	SubjectInstance   = "deacon.v1.instance"
	SubjectUpdated    = "deacon.v1.updated"
	SubjectActor      = "deacon.v1.actor"
)

const (
	startPrefix, startSuffix = "dea.", ".start"
	ownPrefix                = "deacon.v1."
	evacuateSuffix           = ".evacuate"
	logsPrefix               = ownPrefix + "logs."
)

// StartSubject is where one node is told to start instances.
func StartSubject(nodeID string) string { return startPrefix + nodeID + startSuffix }

// EvacuateSubject is where one node is told to hand over what it runs.
func EvacuateSubject(nodeID string) string { return ownPrefix + nodeID + evacuateSuffix }

// isEvacuate says whether subject is some node's EvacuateSubject.
func isEvacuate(subject string) bool { return isNodes(subject, ownPrefix, evacuateSuffix) }

// isStart says whether subject is some node's StartSubject.
func isStart(subject string) bool { return isNodes(subject, startPrefix, startSuffix) }

// isNodes says whether subject has nothing but a node's id between two ends.
func isNodes(subject, prefix, suffix string) bool {
	id, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return false
	}
	id, ok = strings.CutSuffix(id, suffix)
	return ok && CheckNodeID(id) == nil
}

// LogsSubject is where the lines of one instance go.
func LogsSubject(application string, index int) string {
	return logsPrefix + Token(application) + "." + strconv.Itoa(index)
}

// LogsPattern matches the LogsSubject of several instances: of every
// application where application is empty, of every index where index is -1.
func LogsPattern(application string, index int) string {
	token, number := "*", "*"
	if application != "" {
		token = Token(application)
	}
	if index >= 0 {
		number = strconv.Itoa(index)
	}
	return logsPrefix + token + "." + number
}

// nodeIDMax is far above the 34 bytes of a DEA's own ids.
const nodeIDMax = 64

// CheckNodeID refuses an id that can't be one token of a subject.
func CheckNodeID(id string) error {
	if id == "" {
		return errors.New("a node id must not be empty")
	}
	if len(id) > nodeIDMax {
		return fmt.Errorf("a node id has at most %d bytes, this one has %d", nodeIDMax, len(id))
	}
	for i := range len(id) {
		if !plain(id[i]) {
			return fmt.Errorf("a node id is made of letters, digits, - and _, not of %q", id[i:i+1])
		}
	}
	return nil
}

// plain bytes stand for themselves in a token.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

const hexDigits = "0123456789ABCDEF"

// Token makes one token of a subject out of any text, so that neither a dot
// nor a wildcard nor a space in an application's guid can lead to another
// subject. Guids as controllers make them stay as they are; every other byte
// becomes =XX, and nothing at all becomes a lone =. Untoken reverses it.
func Token(text string) string {
	if text == "" {
		return "="
	}
	var out strings.Builder
	for i := range len(text) {
		if c := text[i]; plain(c) {
			out.WriteByte(c)
		} else {
			out.Write([]byte{'=', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return out.String()
}

// Untoken reverses Token; ok is false for what Token never makes.
func Untoken(token string) (text string, ok bool) {
	if token == "=" {
		return "", true
	}
	var out []byte
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			out = append(out, token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", false
		}
		high, low := strings.IndexByte(hexDigits, token[i+1]), strings.IndexByte(hexDigits, token[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	text = string(out)
	return text, Token(text) == token
}

// spoken are the subjects that programs act upon, by their first token.
var spoken = []string{"dea", "droplet", "router", "staging", "healthmanager", "hm9000",
	"cloudcontroller", "cloudcontrollers", "vcap", "app", "deacon"}

// Replyable says whether an answer may be sent to subject. A question names
// the subject of its answers, so without this check a client that may only
// ask could make a node say dea.stop in its stead.
func Replyable(subject string) bool {
	first, _, _ := strings.Cut(subject, ".")
	if first == "" || first[0] == '$' || strings.ContainsAny(subject, " \t\r\n*>") {
		return false
	}
	for _, word := range spoken {
		if first == word {
			return false
		}
	}
	return true
}
