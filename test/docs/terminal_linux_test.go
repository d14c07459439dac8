package docs_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// screen is what a command has shown on a terminal, as a person sees it in the end: bars that were drawn over are gone.
type screen struct {
	mu   sync.Mutex
	data strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Write(p)
}

var escape = regexp.MustCompile(`\x1b\[([0-9;?]*)([A-Za-z])`)

// lines replays what was written: going up, clearing from there on, and line feeds. Colours do not matter.
func (s *screen) lines() []string {
	s.mu.Lock()
	text := s.data.String()
	s.mu.Unlock()
	shown, row := []string{""}, 0
	write := func(plain string) {
		for i, part := range strings.Split(strings.ReplaceAll(plain, "\r", ""), "\n") {
			if i > 0 {
				if row++; row == len(shown) {
					shown = append(shown, "")
				}
			}
			shown[row] += part
		}
	}
	at := 0
	for _, m := range escape.FindAllStringSubmatchIndex(text, -1) {
		write(text[at:m[0]])
		at = m[1]
		switch text[m[4]:m[5]] {
		case "A":
			n, err := strconv.Atoi(text[m[2]:m[3]])
			if err != nil {
				n = 1
			}
			row = max(0, row-n)
		case "J":
			shown = append(shown[:row], "")
		}
	}
	write(text[at:])
	for len(shown) > 0 && shown[len(shown)-1] == "" {
		shown = shown[:len(shown)-1]
	}
	return shown
}

// start runs bash on a terminal of its own, until the test ends. It reads its commands from script.
func start(t *testing.T, dir string, env []string, script string, in *os.File) (*exec.Cmd, *screen) {
	t.Helper()
	terminal, tty, err := openTerminal()
	if err != nil {
		t.Fatalf("open a terminal: %v", err)
	}
	cmd := exec.Command("bash", "--norc", "--noprofile", script)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, tty, tty
	if in != nil {
		cmd.Stdin = in
	}
	// A group of its own, so that what bash has started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	s, read := &screen{}, make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(s, terminal) // ends with EIO when the last process has closed the terminal
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		<-read
		_ = terminal.Close()
	})
	return cmd, s
}

func openTerminal() (terminal, tty *os.File, err error) {
	terminal, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(terminal.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 120}); err != nil {
		return nil, nil, err
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return terminal, tty, err
}
