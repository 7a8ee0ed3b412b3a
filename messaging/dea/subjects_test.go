package dea

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTokensOfGuidsAreTheGuids(t *testing.T) {
	for text, want := range map[string]string{
		application: application,
		"42":        "42",
		"":          "=",
		"=":         "=3D",
		"a.b":       "a=2Eb",
		"*":         "=2A",
		">":         "=3E",
		"a b\t\r\n": "a=20b=09=0D=0A",
		"é":         "=C3=A9",
		"\x00":      "=00",
	} {
		if got := Token(text); got != want {
			t.Errorf("Token(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestNoTextBreaksASubjectAndEveryOneComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "text"))
		token := Token(text)
		if token == "" || strings.ContainsAny(token, ".*> \t\r\n\x00") {
			t.Fatalf("Token(%q) = %q", text, token)
		}
		if back, ok := Untoken(token); !ok || back != text {
			t.Fatalf("%q came back as %q, %t", text, back, ok)
		}
	})
}

func TestOnlyWhatTokenMakesIsReversed(t *testing.T) {
	for _, token := range []string{"", "==", "a=", "=4", "=zz", "=2e", "=41", "a.b", "a b", "=2A="} {
		if text, ok := Untoken(token); ok {
			t.Errorf("Untoken(%q) = %q", token, text)
		}
	}
}

func TestPatternsNameOneOrAll(t *testing.T) {
	for got, want := range map[string]string{
		LogsPattern("a.b", 3): "deacon.v1.logs.a=2Eb.3",
		LogsPattern("a", -1):  "deacon.v1.logs.a.*",
		LogsPattern("", -1):   "deacon.v1.logs.*.*",
		LogsPattern("", 0):    "deacon.v1.logs.*.0",
		LogsSubject("", 0):    "deacon.v1.logs.=.0",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A node that answers wherever it is told to would speak with its own rights
// for whoever may only ask.
func TestAnAnswerGoesToNoSubjectThatIsActedUpon(t *testing.T) {
	for subject, want := range map[string]bool{
		"_INBOX.abc.1":      true,
		"_INBOX_n1.abc":     true,
		"cli.replies.7":     true,
		"":                  false,
		"dea.stop":          false,
		"dea":               false,
		"router.register":   false,
		"droplet.exited":    false,
		"staging.stop":      false,
		"deacon.v1.ps":      false,
		"hm9000.stop":       false,
		"$SYS.REQ.x":        false,
		"$JS.API.x":         false,
		"_INBOX.*":          false,
		"_INBOX.>":          false,
		"_INBOX.a b":        false,
		".a":                false,
		"cloudcontrollers.": false,
	} {
		if got := Replyable(subject); got != want {
			t.Errorf("Replyable(%q) = %t, want %t", subject, got, want)
		}
	}
}
