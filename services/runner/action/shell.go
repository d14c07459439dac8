package action

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/child"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// shells bounds how many commands of a component run at once.
type shells struct {
	grace time.Duration // after SIGTERM, and for what a command has left in the background
	mu    sync.Mutex
	slots map[*compose.Component]chan struct{}
}

func newShells() *shells {
	return &shells{grace: 5 * time.Second, slots: map[*compose.Component]chan struct{}{}}
}

// take waits for a slot; give gives it back.
func (s *shells) take(ctx context.Context, c *compose.Component) (give func(), err error) {
	if c == nil || c.MaxConcurrentCount == 0 {
		return func() {}, nil
	}
	s.mu.Lock()
	slots := s.slots[c]
	if slots == nil {
		slots = make(chan struct{}, c.MaxConcurrentCount)
		s.slots[c] = slots
	}
	s.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// shell runs a command: its output is {stdout, stderr, exit_code}; an exit code other than 0 is an error.
func (p *Performer) shell(ctx context.Context, inv *invocation, scope engine.ActionScope) (any, error) {
	if !p.o.AllowShell {
		return nil, &engine.Error{
			Code: "not_allowed", Permanent: true,
			Message: "components of type shell are not allowed here: set SWITCHBACK_RUNNER_ALLOW_SHELL=true for the runner, or start up with --allow-shell",
		}
	}
	action := inv.act.Action
	cmd, err := command(ctx, action, scope)
	if err != nil {
		return nil, err
	}
	give, err := p.shells.take(ctx, inv.act.Of)
	if err != nil {
		return nil, err
	}
	defer give()
	stdout, stderr := &bounded{left: p.o.MaxResponse}, &bounded{left: p.o.MaxResponse}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// The whole group is ended with it: a shell's children must not outlive their job.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = p.shells.grace
	err = run(cmd)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	result := map[string]any{"stdout": stdout.String(), "stderr": stderr.String(), "exit_code": int64(0)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		result["exit_code"] = int64(exit.ExitCode())
		data, _ := raw(result)
		return nil, &engine.Error{Code: "exit", Message: fmt.Sprintf("the command ended with %s", exit.ProcessState), Data: data}
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // it has ended well, and left something in the background
		return nil, &engine.Error{Code: CodeRequest, Message: "run the command: " + err.Error()}
	}
	if stdout.over || stderr.over {
		return nil, &engine.Error{Code: engine.CodeTooLarge, Permanent: true, Message: fmt.Sprintf("the command has written more than %d bytes", p.o.MaxResponse)}
	}
	return result, nil
}

// run runs a command. It does not outlive the runner: another one will run it again.
func run(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	guard, err := child.Watch(cmd.Process.Pid)
	if err != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		return err
	}
	defer guard.End() // and whoever is left of the group
	return cmd.Wait()
}

func command(ctx context.Context, action *compose.Action, scope engine.ActionScope) (*exec.Cmd, error) {
	v, err := action.Command.Eval(scope)
	if err != nil {
		return nil, expressionError("command", err)
	}
	args := []string{"/bin/sh", "-c", value.Text(v)}
	if list, ok := v.([]any); ok {
		args = args[:0]
		for _, a := range list {
			args = append(args, value.Text(a))
		}
	}
	if len(args) == 0 || args[0] == "" {
		return nil, expressionError("command", errors.New("it is empty"))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the file's own command, where the operator allows it
	if cmd.Dir, err = text(action.WorkingDir, scope, ""); err != nil {
		return nil, expressionError("working_dir", err)
	}
	if cmd.Dir != "" { // else it is the program that is said to be missing
		if _, err := os.Stat(cmd.Dir); err != nil {
			return nil, &engine.Error{Code: CodeRequest, Message: "run the command: its working_dir: " + err.Error()}
		}
	}
	input, err := text(action.Stdin, scope, "")
	if err != nil {
		return nil, expressionError("stdin", err)
	}
	cmd.Stdin = strings.NewReader(input)
	env, err := pairs(action.Env, scope)
	if err != nil {
		return nil, expressionError("env", err)
	}
	// Not the runner's own variables: its secrets are not the command's.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=" + os.Getenv("LANG")}
	for _, kv := range env {
		cmd.Env = append(cmd.Env, kv[0]+"="+kv[1])
	}
	return cmd, nil
}

// bounded keeps the beginning of what is written. The buffer is not embedded: io.Copy would find its ReadFrom, and pass the bound by.
type bounded struct {
	kept bytes.Buffer
	left int64
	over bool
}

var _ io.Writer = (*bounded)(nil)

func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if int64(n) > b.left {
		p, b.over = p[:b.left], true
	}
	b.left -= int64(len(p))
	_, _ = b.kept.Write(p)
	return n, nil
}

func (b *bounded) String() string { return b.kept.String() }
