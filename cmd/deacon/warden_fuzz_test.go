package main

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzALineIsARequestOrAnError types whatever at every command. What is taken
// must be complete, so that it can be sent; nothing may panic.
func FuzzALineIsARequestOrAnError(f *testing.F) {
	for _, line := range []string{
		"", "--handle h", "--handle 'a b' --job_id 5", "--bind_mounts[0].src_path /a --bind_mounts[0].mode RO",
		"--rlimits.nofile 5 --rlimits. 5 --.. --[0] x --handle.[0].a", "--a[99999999].b c", "--=x --handle=",
		`--script "a\"b" --privileged --kill=false`, "--port -1 --protocol tcp --icmp_type 1e5", "\xff '",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line)
		if err != nil {
			return
		}
		if again, err := splitWords(joinWords(words)); err != nil || !slices.Equal(again, words) {
			t.Errorf("%q is %q, and written again %q, %v", line, words, again, err)
		}
		for _, c := range wardenCommands() {
			request, err := parseRequest(c, words)
			if err != nil {
				continue
			}
			if _, err := proto.Marshal(request); err != nil {
				t.Errorf("%s %q was taken and can't be sent: %v", c.name, line, err)
			}
		}
	})
}

// FuzzCompletionKeepsWhatIsTyped: whatever the line, completing it changes
// nothing but the word at the cursor, which it prolongs.
func FuzzCompletionKeepsWhatIsTyped(f *testing.F) {
	for _, line := range []string{"", "cre", "destroy --handle ", "net_out --protocol T", "create --bind_mounts[1", "net x", "'a"} {
		f.Add(line, len(line))
	}
	c := completer{func() []string { return []string{"1j0shvimvs7", "an odd one"} }}
	f.Fuzz(func(t *testing.T, line string, cursor int) {
		runes := []rune(line)
		if cursor < 0 || cursor > len(runes) {
			return
		}
		before, after := string(runes[:cursor]), string(runes[cursor:])
		head, words, tail := c.complete(line, cursor)
		if tail != after || len(head) > len(before) || head != before[:len(head)] {
			t.Errorf("%q at %d: %q, %q", line, cursor, head, tail)
		}
		for _, word := range words {
			if typed := before[len(head):]; len(word) < len(typed) || word[:len(typed)] != typed {
				t.Errorf("%q at %d: %q doesn't prolong %q", line, cursor, word, typed)
			}
		}
	})
}
