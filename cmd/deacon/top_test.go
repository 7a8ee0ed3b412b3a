package main

import (
	"strings"
	"testing"
)

func TestSizesHaveThreeDigitsAtMost(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 999: "999B", 1000: "1.0K", 1024: "1.0K", 10189: "10K", 10 << 10: "10K", 999 << 10: "999K", 1000 << 10: "1.0M",
		512 << 20: "512M", 4 << 30: "4.0G", 1 << 60: "1024P",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// A page is cut at the terminal's edges, and never makes it scroll.
func TestAPageFitsItsTerminal(t *testing.T) {
	page := "first line\nüöä line\nthird\nfourth\n"
	got := fitted(page, 6, 3)
	if want := "\x1b[Hfirst \x1b[K\r\nüöä li\x1b[K\r\nthird\x1b[K\x1b[J"; got != want {
		t.Errorf("it is %q, want %q", got, want)
	}
	if got := fitted(page, 0, 0); strings.Contains(got, "\n") {
		t.Errorf("a terminal without a size scrolls: %q", got)
	}
}
