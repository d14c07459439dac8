package cloudflare

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// find gives cloudflared's path.
func find(asked string) (string, error) {
	name := asked
	if name == "" {
		name = "cloudflared"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &tunnel.Error{Class: tunnel.Config, Err: err, Message: "cloudflared is not there: " + name + " was not found", Hint: installHint()}
	}
	return path, nil
}

func installHint() string {
	switch runtime.GOOS {
	case "darwin":
		return "brew install cloudflared, set CLOUDFLARED_BIN, or write runtime: docker"
	case "windows":
		return "winget install --id Cloudflare.cloudflared, set CLOUDFLARED_BIN, or write runtime: docker"
	default:
		return "get cloudflared-linux-" + runtime.GOARCH + " from https://github.com/cloudflare/cloudflared/releases and put it in PATH or set CLOUDFLARED_BIN, " +
			"or write runtime: docker"
	}
}

// process is a running cloudflared: a child in a group of its own, or a container.
type process struct {
	log      *childLog
	ended    chan struct{} // closed when it has ended and all it said is read
	hopeless chan error    // it goes on, and will never succeed
	exitCode func() int    // of one that has ended
	// stop asks it to end, and makes it when it does not within grace.
	stop func(grace time.Duration)
	// metrics is where it tells how it is, where that is known from the start.
	metrics string
}

func newProcess() *process {
	p := &process{ended: make(chan struct{}), hopeless: make(chan error, 1)}
	p.log = newChildLog(p.hopeless)
	return p
}

// start starts a child and notes it in the file mark.
func start(binary string, args, env []string, mark string) (*process, error) {
	cmd := exec.Command(binary, args...) //nolint:noctx,gosec // it is stopped in order by stop; the operator names the program
	p := newProcess()
	p.exitCode = func() int { return cmd.ProcessState.ExitCode() }
	p.stop = func(grace time.Duration) { stop(cmd.Process.Pid, p.ended, grace) }
	cmd.Env = env
	cmd.Dir = os.TempDir()
	cmd.SysProcAttr = attributes()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("open its stderr: %w", err)
	}
	cmd.Stdout = io.Discard
	started := make(chan error, 1)
	go func() {
		// The kernel ends the child with the thread that started it: this one stays for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		note(mark, cmd.Process.Pid)
		started <- nil
		defer close(p.ended)
		p.log.read(stderr)
		_ = cmd.Wait() // the exit code tells
		_ = os.Remove(mark)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) metricsAddr() string {
	if p.metrics != "" {
		return p.metrics
	}
	return p.log.metricsAddr()
}

// stop asks a child's group to end, and makes it when it does not.
func stop(pid int, ended <-chan struct{}, grace time.Duration) {
	signal(pid, syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		signal(pid, syscall.SIGKILL)
		<-ended
	}
}

// noted is a child as a file notes it, and whose it is: two gateways of one machine may each have one for the same port.
type noted struct {
	pid        int
	at         string // when it was started, in the kernel's words: a number may go to another
	parent     int
	parentFrom string
}

// note writes which process runs, so that the next start can end it when we cannot.
func note(file string, pid int) {
	self := os.Getpid()
	if at := startTime(pid); at != "" {
		_ = os.WriteFile(file, fmt.Appendf(nil, "%d %s %d %s\n", pid, at, self, startTime(self)), 0o600) // without, it is not reaped
	}
}

// reap ends the processes that are noted in a folder and whose parents are gone.
func reap(dir string, log *slog.Logger) {
	files, _ := filepath.Glob(filepath.Join(dir, "cloudflared-*.pid")) // the pattern is good
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // of our own folder
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		n, ok := parseNote(string(data))
		if ok && startTime(n.parent) == n.parentFrom {
			continue // somebody looks after it
		}
		if ok && startTime(n.pid) == n.at {
			log.Warn("ending a cloudflared that was left over", slog.Int("pid", n.pid))
			signal(n.pid, syscall.SIGKILL)
		}
		if home := homeOf(file); home != "" {
			_ = os.RemoveAll(home)
		}
		_ = os.Remove(file)
	}
}

// markOf names the file that notes the child of a port with this home, and homeOf the home of such a file.
func markOf(home string, port int) string {
	return filepath.Join(filepath.Dir(home), fmt.Sprintf("cloudflared-%d-%s.pid", port, strings.TrimPrefix(filepath.Base(home), "cloudflared-")))
}

func homeOf(mark string) string {
	name := strings.TrimSuffix(filepath.Base(mark), ".pid")
	if parts := strings.Split(name, "-"); len(parts) == 3 && parts[2] != "" {
		return filepath.Join(filepath.Dir(mark), "cloudflared-"+parts[2])
	}
	return ""
}

func parseNote(s string) (n noted, ok bool) {
	words := strings.Fields(s)
	if len(words) != 4 {
		return noted{}, false
	}
	pid, err1 := strconv.Atoi(words[0])
	parent, err2 := strconv.Atoi(words[2])
	return noted{pid: pid, at: words[1], parent: parent, parentFrom: words[3]}, err1 == nil && err2 == nil && pid > 1 && parent > 0
}

// childLog keeps the few things of a process's log that matter.
type childLog struct {
	hopeless chan<- error

	mu      sync.Mutex
	metrics string
	errors  []string // the last ones
	refused int      // times that Cloudflare has refused the account
}

func newChildLog(hopeless chan<- error) *childLog { return &childLog{hopeless: hopeless} }

func (l *childLog) metricsAddr() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.metrics
}

func (l *childLog) lastErrors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.errors...)
}

func (l *childLog) lastError() string {
	all := l.lastErrors()
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}
