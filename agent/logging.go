package agent

import (
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/term"
)

// logTime has enough digits to put lines of several nodes in order.
const logTime = "2006-01-02T15:04:05.000Z07:00"

// NewLog is the root of every logger of the process. Each part gets a named
// one handed down; none reaches for a global. Messages are constant, facts are
// pairs: log.Info("state changed", "from", from, "to", to).
func NewLog(config Log, output io.Writer) hclog.Logger {
	return newLog(config, output, time.Now)
}

func newLog(config Log, output io.Writer, now func() time.Time) hclog.Logger {
	options := &hclog.LoggerOptions{
		Name:       "deacon",
		Level:      hclog.LevelFromString(config.Level),
		Output:     output,
		JSONFormat: config.Format == "json",
		TimeFormat: logTime,
		TimeFn:     now,
		Color:      hclog.ColorOff,
		// Routes and commands are full of <, > and &.
		JSONEscapeDisabled: true,
	}
	if isTerminal(output) && !options.JSONFormat {
		options.Color = hclog.ForceColor
		options.ColorHeaderOnly = true
	}
	return hclog.NewInterceptLogger(options) // its messages are counted
}

// isTerminal also asks NO_COLOR (no-color.org), as people expect of a program.
func isTerminal(output io.Writer) bool {
	file, ok := output.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(file.Fd()))
}
