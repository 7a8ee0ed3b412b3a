package main

import (
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// resumeDescriptor is where the process is held that is to be continued.
const resumeDescriptor = 3

// newChaosResume is for ourselves: an agent that was stopped must go on even if
// who stopped it is killed meanwhile.
func newChaosResume() *cobra.Command {
	return &cobra.Command{
		Use:     "resume AFTER",
		Short:   "Continue a stopped process after a while (deacon chaos run uses it)",
		Long:    "Send SIGCONT to the process that descriptor 3 refers to, after a while.",
		Example: exampleText("deacon chaos resume 5s 3<…"),
		Hidden:  true,
		Args:    arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			after, err := time.ParseDuration(args[0])
			if err != nil {
				return fail(exitUsage, "", "%s is no duration", args[0])
			}
			time.Sleep(after)
			if err := unix.PidfdSendSignal(resumeDescriptor, unix.SIGCONT, nil, 0); err != nil {
				return fail(exitFailed, "", "continue the process: %w", err)
			}
			return nil
		},
	}
}

// resumeLater starts a process that outlives this one and continues another.
func resumeLater(process int, after time.Duration) error {
	copied, err := unix.FcntlInt(uintptr(process), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	held := os.NewFile(uintptr(copied), "process")
	defer held.Close()
	waker := exec.Command("/proc/self/exe", "chaos", "resume", after.String())
	waker.ExtraFiles = []*os.File{held}
	waker.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	if err := waker.Start(); err != nil {
		return err
	}
	go waker.Wait() // it has nothing to say; if it ends after us, init takes it
	return nil
}
