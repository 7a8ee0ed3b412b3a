package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/messaging/syslog"
)

// OpenLog is NewLog, to where the configuration wants it; close lets go of that.
func OpenLog(config Log, otherwise io.Writer) (log hclog.Logger, close func() error, err error) {
	if config.File == "" && config.Syslog == "" {
		return NewLog(config, otherwise), func() error { return nil }, nil
	}
	return openLog(config, syslog.DefaultSocket)
}

func openLog(config Log, socket string) (hclog.Logger, func() error, error) {
	outputs := &logOutputs{tag: config.Syslog}
	if config.File != "" {
		file, err := os.OpenFile(config.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
		if err != nil {
			return nil, nil, fmt.Errorf("agent: open the log: %w", err)
		}
		outputs.file = file
	}
	if config.Syslog != "" {
		outputs.syslog = syslog.New(socket)
	}
	return NewLog(config, outputs), outputs.Close, nil
}

// logOutputs are a file and the machine's log, either of which may be nil.
type logOutputs struct {
	file   *os.File
	syslog *syslog.Writer
	tag    string
}

var _ hclog.LevelWriter = (*logOutputs)(nil)

// priorities are syslog's, of the facility user.
var priorities = map[hclog.Level]syslog.Severity{
	hclog.Trace: 15, hclog.Debug: 15, hclog.Warn: 12, hclog.Error: syslog.Err,
}

// LevelWrite takes one message with all of its lines.
func (o *logOutputs) LevelWrite(level hclog.Level, message []byte) (int, error) {
	if o.syslog != nil {
		priority, other := priorities[level]
		if !other {
			priority = syslog.Info
		}
		for line := range bytes.Lines(message) {
			o.syslog.Write(priority, o.tag, bytes.TrimRight(line, "\n"))
		}
	}
	if o.file == nil {
		return len(message), nil
	}
	return o.file.Write(message)
}

func (o *logOutputs) Write(message []byte) (int, error) { return o.LevelWrite(hclog.Info, message) }

// Close has the machine's log take what waits.
func (o *logOutputs) Close() (err error) {
	if o.syslog != nil {
		err = o.syslog.Close()
	}
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
	}
	return err
}
