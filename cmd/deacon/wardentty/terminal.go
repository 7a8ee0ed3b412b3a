package wardentty

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// columns is so wide that the line editor never has to shift a line.
	columns = 400
	rows    = 1000

	// answerMax is how long a program may take until what is awaited is there.
	answerMax = 20 * time.Second
)

// Terminal is a program in a pseudo-terminal.
type Terminal struct {
	command *exec.Cmd
	master  *os.File

	mu     sync.Mutex
	screen screen
	change chan struct{} // closed at the next change of the screen
	ended  chan struct{} // closed when all that the program wrote is on the screen
}

// Start runs a program. Its environment is env and TERM alone.
func Start(env []string, program string, args ...string) (*Terminal, error) {
	master, slave, err := open()
	if err != nil {
		return nil, fmt.Errorf("wardentty: open a pseudo-terminal: %w", err)
	}
	defer slave.Close()
	command := exec.Command(program, args...)
	command.Stdin, command.Stdout, command.Stderr = slave, slave, slave
	command.Env = append([]string{"TERM=xterm"}, env...)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		master.Close()
		return nil, fmt.Errorf("wardentty: start %s: %w", program, err)
	}
	t := &Terminal{command: command, master: master, change: make(chan struct{}), ended: make(chan struct{})}
	go t.watch()
	return t, nil
}

// open makes a pair by hand: unlock, ask for the number, open the other end.
func open() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	var number int
	if err == nil {
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// watch keeps the screen until the last process has closed the terminal, which
// the kernel tells by EIO.
func (t *Terminal) watch() {
	defer close(t.ended)
	buffer := make([]byte, 4096)
	for {
		n, err := t.master.Read(buffer)
		t.mu.Lock()
		t.screen.write(buffer[:n])
		close(t.change)
		t.change = make(chan struct{})
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type presses keys.
func (t *Terminal) Type(keys string) error {
	_, err := t.master.WriteString(keys)
	return err
}

// Signal sends the program a signal.
func (t *Terminal) Signal(signal os.Signal) error { return t.command.Process.Signal(signal) }

// Screen is what there is to see, with all that scrolled away.
func (t *Terminal) Screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.text()
}

// Await waits until the screen is as wanted, and returns it.
func (t *Terminal) Await(what string, wanted func(screen string) bool) (string, error) {
	timeout := time.After(answerMax)
	for {
		t.mu.Lock()
		text, change := t.screen.text(), t.change
		t.mu.Unlock()
		if wanted(text) {
			return text, nil
		}
		select {
		case <-change:
		case <-t.ended:
			if text := t.Screen(); wanted(text) {
				return text, nil
			}
			return text, fmt.Errorf("wardentty: the program ended, and there was no %s:\n%s", what, text)
		case <-timeout:
			return text, fmt.Errorf("wardentty: no %s after %s:\n%s", what, answerMax, text)
		}
	}
}

// AwaitLine waits until the last line is exactly so: a prompt, with what is
// typed so far.
func (t *Terminal) AwaitLine(line string) error {
	_, err := t.Await(strconv.Quote(line), func(screen string) bool { return lastLine(screen) == line })
	return err
}

func lastLine(screen string) string { return screen[strings.LastIndexByte(screen, '\n')+1:] }

// Do types a command behind the prompt, and returns what was shown until the
// next prompt.
func (t *Terminal) Do(prompt, command string) (string, error) {
	before, err := t.Await("prompt", func(screen string) bool { return lastLine(screen) == prompt })
	if err != nil {
		return "", err
	}
	if err := t.Type(command + "\r"); err != nil {
		return "", err
	}
	line := before + command + "\n"
	after, err := t.Await("prompt after "+command, func(screen string) bool {
		return strings.HasPrefix(screen, line) && lastLine(screen[len(line):]) == prompt
	})
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(after[len(line):], prompt), nil
}

// Resize gives the terminal another size, of which the program is told.
func (t *Terminal) Resize(rows, columns uint16) error {
	return unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
}

// Close ends the program, should it still run, and returns its exit code.
func (t *Terminal) Close() (int, error) {
	timer := time.AfterFunc(answerMax, func() { t.command.Process.Kill() })
	defer timer.Stop()
	<-t.ended
	err := t.command.Wait()
	t.master.Close()
	if t.command.ProcessState == nil {
		return -1, err
	}
	return t.command.ProcessState.ExitCode(), nil
}
