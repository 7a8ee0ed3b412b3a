package main

import (
	"fmt"
	"strconv"
	"strings"
)

// mebibytes is a flag value such as 256M, 256MiB, 1G or a plain number of MiB.
type mebibytes int64

// mebibytesMax keeps a size far from overflow when it becomes bytes.
const mebibytesMax = 1 << 30

func (m *mebibytes) String() string { return strconv.FormatInt(int64(*m), 10) + "M" }
func (m *mebibytes) Type() string   { return "size" }

func (m *mebibytes) Set(text string) error {
	number, factor := text, int64(1)
	for _, unit := range []struct {
		suffix string
		factor int64
	}{{"MiB", 1}, {"GiB", 1024}, {"M", 1}, {"G", 1024}} {
		if cut, ok := strings.CutSuffix(text, unit.suffix); ok {
			number, factor = cut, unit.factor
			break
		}
	}
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil || value <= 0 || value > mebibytesMax/factor {
		return fmt.Errorf("want a size such as 256M or 1G, got %q", text)
	}
	*m = mebibytes(value * factor)
	return nil
}
