package action_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/services/runner/action"
)

func TestShell(t *testing.T) {
	t.Setenv("RUNNERS_OWN", "not to be seen")
	for _, tc := range []struct {
		name              string
		action            compose.Action
		input, want, code string // the output, or the error's code and what is in its message
	}{
		{"a line for sh", compose.Action{Command: template(t, "echo out; echo err >&2")}, `{}`, `{"exit_code":0,"stderr":"err\n","stdout":"out\n"}`, ""},
		{
			"a list is no line",
			compose.Action{Command: template(t, []any{"printf", "%s|", "${input.a}", "$HOME"})},
			`{"a":"x; echo y"}`,
			`{"exit_code":0,"stderr":"","stdout":"x; echo y|$HOME|"}`, "",
		},
		{
			"variables of its own, and not the runner's",
			compose.Action{Command: template(t, "echo ${input.a}$A$RUNNERS_OWN"), Env: template(t, map[string]any{"A": "${env.TOKEN}"})},
			`{"a":"t:"}`,
			`{"exit_code":0,"stderr":"","stdout":"t:the token\n"}`, "",
		},
		{"what it reads", compose.Action{Command: template(t, "wc -c"), Stdin: template(t, "${input.a}")}, `{"a":"hello"}`, `{"exit_code":0,"stderr":"","stdout":"5\n"}`, ""},
		{"another exit code", compose.Action{Command: template(t, "echo oops >&2; exit 3")}, `{}`, "exit status 3", "exit"},
		{"a signal", compose.Action{Command: template(t, "kill -9 $$")}, `{}`, "signal: killed", "exit"},
		{"no such program", compose.Action{Command: template(t, []any{"no-such-program"})}, `{}`, "no-such-program", action.CodeRequest},
		{"no such folder", compose.Action{Command: template(t, "pwd"), WorkingDir: template(t, "/no/such")}, `{}`, "its working_dir: stat /no/such", action.CodeRequest},
		{"more than fits", compose.Action{Command: template(t, "head -c 300000 /dev/zero")}, `{}`, "more than 1000 bytes", "too_large"},
		{"more than fits, of errors", compose.Action{Command: template(t, "head -c 300000 /dev/zero >&2")}, `{}`, "more than 1000 bytes", "too_large"},
		{
			"what it leaves in the background is ended, and no failure",
			compose.Action{Command: template(t, "sleep 600 & echo done")},
			`{}`,
			`{"exit_code":0,"stderr":"","stdout":"done\n"}`, "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := performer(t, action.Options{AllowShell: true, MaxResponse: 1000})
			p.SetGrace(50 * time.Millisecond)
			tc.action.Type = compose.Shell
			acted, err := p.Perform(t.Context(), act(&tc.action, tc.input), env{"TOKEN": "the token"})
			switch {
			case err != nil:
				t.Error(err)
			case tc.code == "" && (acted.Err != nil || string(acted.Output) != tc.want):
				t.Errorf("%s, %+v, want %s", acted.Output, acted.Err, tc.want)
			case tc.code != "" && (acted.Err == nil || acted.Err.Code != tc.code || !strings.Contains(acted.Err.Message, tc.want)):
				t.Errorf("%+v, want %s: %s", acted.Err, tc.code, tc.want)
			}
		})
	}
}

func TestShellHasToBeAllowed(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	acted, err := performer(t, action.Options{}).Perform(t.Context(),
		act(&compose.Action{Type: compose.Shell, Command: template(t, []any{"touch", ran})}, `{}`), env{})
	if err != nil || acted.Err == nil || !acted.Err.Permanent || !strings.Contains(acted.Err.Message, "--allow-shell") {
		t.Errorf("%v, %+v", err, acted.Err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it has run all the same")
	}
}

// TestTheWholeGroupIsEnded when its time is over: also a child that the shell does not wait for, and one that does not hear SIGTERM.
func TestTheWholeGroupIsEnded(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	p := performer(t, action.Options{AllowShell: true})
	p.SetGrace(50 * time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() {
		_, err := p.Perform(ctx, act(&compose.Action{
			Type: compose.Shell, Command: template(t, "trap '' TERM; sleep 600 & echo $! $$ > "+pids+"; while :; do sleep 600; done"),
		}, `{}`), env{})
		done <- err
	}()
	var group []string
	eventually(t, "the command has begun", func() bool {
		data, _ := os.ReadFile(pids)
		group = strings.Fields(string(data))
		return len(group) == 2
	})
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, member := range group {
		pid, _ := strconv.Atoi(member)
		eventually(t, "process "+member+" is gone", func() bool { return gone(pid) })
	}
}

// gone tells whether a process has ended: one that its parent has not fetched yet counts as ended.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
