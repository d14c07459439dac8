package child

import (
	"context"
	"errors"
	"fmt"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Process is a running child, seen from its parent.
type Process struct {
	Name   string
	cmd    *exec.Cmd
	pipe   *pipes
	client *rpc.Client
	stderr *tail
	exited chan struct{} // closed when the process is gone and reaped
}

// Group owns the children of one measurement.
type Group struct {
	// Verbose passes on what children write to stderr; else only the end of it is shown, when one fails.
	Verbose bool

	mu       sync.Mutex
	children []*Process
}

// Start starts this binary again in the role. name tells it from others of the same role.
func (g *Group) Start(ctx context.Context, role, name string) (*Process, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the bench's own binary: %w", err)
	}
	childRequests, requests, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for %s: %w", name, err)
	}
	answers, childAnswers, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe for %s: %w", name, err), childRequests.Close(), requests.Close())
	}
	p := &Process{
		Name: name, pipe: &pipes{requests: answers, answers: requests},
		stderr: &tail{}, exited: make(chan struct{}),
	}
	if g.Verbose {
		p.stderr.also = os.Stderr
	}
	p.cmd = exec.Command(binary, Word, role)                   //nolint:gosec,noctx // this very binary; Stop and Kill end it, in order
	p.cmd.ExtraFiles = []*os.File{childRequests, childAnswers} // become fdRequests and fdAnswers
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	// A group of its own: Ctrl-C reaches the parent only, which then closes its children in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = p.cmd.Start()
	_ = childRequests.Close()
	_ = childAnswers.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), p.pipe.Close())
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	p.client = jsonrpc.NewClient(p.pipe)
	g.mu.Lock()
	g.children = append(g.children, p)
	g.mu.Unlock()
	return p, nil
}

// Stop closes all children that are still there, the youngest first, and waits until they are gone.
func (g *Group) Stop() error {
	g.mu.Lock()
	children := g.children
	g.children = nil
	g.mu.Unlock()
	var errs []error
	for _, p := range slices.Backward(children) {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// Call calls a method of the child's role.
func (p *Process) Call(ctx context.Context, method string, args, answer any) error {
	return p.call(ctx, "Role."+method, args, answer)
}

func (p *Process) call(ctx context.Context, method string, args, answer any) error {
	call := p.client.Go(method, args, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		return fmt.Errorf("%s: %s: %w", p.Name, method, context.Cause(ctx))
	}
	if call.Error == nil {
		return nil
	}
	if _, answered := errors.AsType[rpc.ServerError](call.Error); answered {
		return fmt.Errorf("%s: %w", p.Name, call.Error)
	}
	return fmt.Errorf("%s: %s: the process ended (%w)%s", p.Name, method, call.Error, p.stderr.text())
}

// Usage asks the child what it has used.
func (p *Process) Usage(ctx context.Context, collect bool) (Usage, error) {
	var u Usage
	err := p.call(ctx, "Process.Usage", UsageArgs{Collect: collect}, &u)
	return u, err
}

// StartProfile begins a CPU profile of the child.
func (p *Process) StartProfile(ctx context.Context, file string) error {
	return p.call(ctx, "Process.StartProfile", file, &Nothing{})
}

// StopProfile ends it.
func (p *Process) StopProfile(ctx context.Context) error {
	return p.call(ctx, "Process.StopProfile", Nothing{}, &Nothing{})
}

// Kill is kill -9, and returns when the process is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	_ = p.client.Close()
}

// Stop closes the child in order, and kills it when that takes too long.
func (p *Process) Stop() error {
	_ = p.client.Close()
	select {
	case <-p.exited:
	case <-time.After(closingTime + time.Second):
		p.Kill()
		return fmt.Errorf("%s did not end in time and was killed%s", p.Name, p.stderr.text())
	}
	if state := p.cmd.ProcessState; !state.Success() && state.ExitCode() >= 0 { // -1: killed, on purpose
		return fmt.Errorf("%s: %s%s", p.Name, state, p.stderr.text())
	}
	return nil
}
