package dea

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// seconds is a moment as the wire has it: seconds since 1970 with six digits
// of fraction, a number with a point in it even where the fraction is zero.
type seconds time.Time

// secondsMax is the year 2255: up to there a float64 holds microseconds.
const secondsMax = 9_000_000_000

// MarshalJSON is called by encoding/json.
func (s seconds) MarshalJSON() ([]byte, error) {
	t := time.Time(s)
	if t.IsZero() {
		return []byte("0.000000"), nil
	}
	micro := t.UnixMicro()
	if micro < 0 || micro > secondsMax*1e6 {
		return nil, fmt.Errorf("%s is out of range", t)
	}
	return fmt.Appendf(nil, "%d.%06d", micro/1e6, micro%1e6), nil
}

// UnmarshalJSON is called by encoding/json.
func (s *seconds) UnmarshalJSON(raw []byte) error {
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || n < 0 || n > secondsMax {
		return fmt.Errorf("want a number of seconds from 0 to %d, got %s", secondsMax, kind(raw))
	}
	*s = seconds(moment(int64(math.Round(n * 1e6))))
	return nil
}

// moment reverses UnixMicro; no microseconds at all are the zero time.
func moment(micro int64) time.Time {
	if micro == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micro).UTC()
}
