package child_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/bench/child"
)

func TestMain(m *testing.M) {
	if args := os.Args[1:]; child.Wanted(args) {
		os.Exit(child.Main(args[1], map[string]child.Role{"parrot": func(ctx context.Context) any { return &parrot{ctx: ctx} }}))
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // children of a test with -race end without a nap
	goleak.VerifyTestMain(m)
}

// parrot is a role that is good for nothing else.
type parrot struct {
	ctx  context.Context
	file string
}

func (p *parrot) Say(word string, answer *string) error {
	if word == "" {
		return errors.New("say what?")
	}
	*answer = word + ", " + word
	return nil
}

// CloseInto makes Close leave a file.
func (p *parrot) CloseInto(file string, _ *child.Nothing) error {
	p.file = file
	return nil
}

// Wait answers when the parent has gone, that is never.
func (p *parrot) Wait(child.Nothing, *child.Nothing) error {
	<-p.ctx.Done()
	return nil
}

func (p *parrot) Exit(int, *child.Nothing) error {
	os.Stderr.WriteString("out of crackers\n")
	os.Exit(7)
	return nil
}

func (p *parrot) Close() error {
	if p.file == "" {
		return nil
	}
	return os.WriteFile(p.file, []byte("closed"), 0o600)
}

func start(t *testing.T) *child.Process {
	t.Helper()
	g := &child.Group{}
	p, err := g.Start(t.Context(), "parrot", "polly")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Stop() })
	return p
}

func TestCall(t *testing.T) {
	p := start(t)
	var answer string
	if err := p.Call(t.Context(), "Say", "hello", &answer); err != nil || answer != "hello, hello" {
		t.Errorf("answer %q, error %v", answer, err)
	}
	if err := p.Call(t.Context(), "Say", "", &answer); err == nil || err.Error() != "polly: say what?" {
		t.Errorf("error %v", err)
	}
	if err := p.Call(t.Context(), "Dance", "", &answer); err == nil {
		t.Error("no error for a method that is not there")
	}
	before, err := p.Usage(t.Context(), false)
	if err != nil || before.CPU <= 0 || before.Heap <= 0 || before.Allocations == 0 {
		t.Errorf("usage %+v, error %v", before, err)
	}
}

func TestStopClosesTheRoleAlsoInTheMiddleOfACall(t *testing.T) {
	p := start(t)
	file := filepath.Join(t.TempDir(), "closed")
	if err := p.Call(t.Context(), "CloseInto", file, &child.Nothing{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Call(ctx, "Wait", child.Nothing{}, &child.Nothing{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "closed" {
		t.Errorf("Close was not called: %q, %v", b, err)
	}
}

func TestAProcessThatEndsSaysWhatItLastWrote(t *testing.T) {
	p := start(t)
	err := p.Call(t.Context(), "Exit", 0, &child.Nothing{})
	if err == nil || !strings.Contains(err.Error(), "polly: Role.Exit: the process ended") {
		t.Errorf("error %v", err)
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "out of crackers") {
		t.Errorf("stop: %v", err)
	}
}

func TestKill(t *testing.T) {
	p := start(t)
	p.Kill()
	if err := p.Call(t.Context(), "Say", "hello", new(string)); err == nil {
		t.Error("a killed process answers")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stop after kill: %v", err)
	}
}

func TestProfile(t *testing.T) {
	p := start(t)
	file := filepath.Join(t.TempDir(), "cpu.pprof")
	if err := errors.Join(p.StartProfile(t.Context(), file), p.StopProfile(t.Context())); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("profile: %v, %v", info, err)
	}
}

func TestAnUnknownRole(t *testing.T) {
	g := &child.Group{}
	p, err := g.Start(t.Context(), "cat", "tom")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), `no role "cat"`) {
		t.Errorf("error %v", err)
	}
	if err := g.Stop(); err == nil {
		t.Error("the group's stop hides the failure")
	}
}
