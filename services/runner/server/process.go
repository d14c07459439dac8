package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/child"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// process is a command in a process group of its own, which goes with us however we end.
type process struct {
	cmd   *exec.Cmd
	guard *child.Guard
	done  chan error
}

// start starts a command as a server's description says.
func (s *Servers) start(conf *compose.Server, command []string, log *slog.Logger) (*process, error) {
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // the file's own command, where the operator allows it; ended by its group
	out := &lines{log: log, limit: rate.NewLimiter(50, 200), secrets: &engine.Secrets{}}
	env, err := s.environment(conf, out.secrets)
	if err != nil {
		return nil, err
	}
	if conf.WorkingDir != "" { // else it is the program that is said to be missing
		if _, err := os.Stat(conf.WorkingDir); err != nil {
			return nil, fmt.Errorf("its working_dir: %w", err)
		}
	}
	cmd.Dir, cmd.Env = conf.WorkingDir, env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = stopWithin // for who has inherited its output
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	p := &process{cmd: cmd, done: make(chan error, 1)}
	if p.guard, err = child.Watch(cmd.Process.Pid); err != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		return nil, err
	}
	go func() {
		err := cmd.Wait()
		out.flush()
		p.done <- err
	}()
	return p, nil
}

// wait waits for the command's end. When ctx ends it is asked to end, and made to.
func (p *process) wait(ctx context.Context) (err error) {
	pid := p.cmd.Process.Pid
	select {
	case err = <-p.done:
	case <-ctx.Done():
		_ = syscall.Kill(-pid, syscall.SIGTERM)
		timer := time.NewTimer(stopWithin)
		defer timer.Stop()
		select {
		case err = <-p.done:
		case <-timer.C:
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			err = <-p.done
		}
	}
	p.guard.End() // and whoever is left of the group
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("it ended with %s", exit.ProcessState)
	}
	return err
}

// environment is that of a server: not the runner's own, whose secrets are not the server's, but for those that the file hands it.
func (s *Servers) environment(conf *compose.Server, secrets *engine.Secrets) ([]string, error) {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=" + os.Getenv("LANG")}
	scope := variables{s.getenv, secrets}
	for name, t := range conf.Env {
		v, err := t.Eval(scope)
		if err != nil {
			return nil, fmt.Errorf("its variable %s: %w", name, err)
		}
		if v != nil {
			env = append(env, name+"="+value.Text(v))
		}
	}
	slices.Sort(env)
	return env, nil
}

// variables is a scope that knows variables alone, and remembers them as what must not be shown.
type variables struct {
	getenv  func(string) (string, bool)
	secrets *engine.Secrets
}

// Resolve gives a variable's value.
func (s variables) Resolve(ref *expr.Reference) (any, error) {
	if ref.Source != "env" || len(ref.Path) != 1 {
		return nil, fmt.Errorf("%s is not known here", ref.Text)
	}
	v, ok := s.getenv(ref.Path[0].Name)
	if !ok {
		return nil, nil
	}
	s.secrets.Add(v)
	return v, nil
}

// lines logs what a server writes, line by line, within bounds.
type lines struct {
	log     *slog.Logger
	limit   *rate.Limiter
	secrets *engine.Secrets
	rest    []byte
	lost    int
}

const longest = 4096 // of a line

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if room := longest - len(l.rest); len(line) > room {
			line = line[:max(room, 0)]
		}
		l.rest = append(l.rest, line...)
		if whole {
			l.flush()
		}
		p = rest
	}
	return n, nil
}

func (l *lines) flush() {
	line := bytes.TrimRight(l.rest, "\r \t")
	l.rest = l.rest[:0]
	switch {
	case len(line) == 0:
	case !l.limit.Allow():
		l.lost++
	default:
		if l.lost > 0 {
			l.log.Warn("lines of the server were left out", slog.Int("lines", l.lost))
			l.lost = 0
		}
		l.log.Info("the server says", slog.String("line", l.secrets.Mask(string(bytes.ToValidUTF8(line, []byte("?"))))))
	}
}
