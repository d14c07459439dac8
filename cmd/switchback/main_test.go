package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/switchbackhq/switchback/cmd/switchback/command"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"switchback": func() { os.Exit(command.Main(os.Args[1:])) },
	})
}

// TestScripts plays testdata/script with the real command in processes of its own. Beside testscript's commands there are
//
//	up NAME ARG…             starts `switchback up ARG…`, on a free port unless it has --nats, and waits until it is ready; its output goes to NAME.out
//	                         and NAME.err, its NATS into SWITCHBACK_NATS_URL and NATS_PORT
//	post STATUS PATH BODY HEADER…  sends JSON to the listener that was started last, and wants that status
//	down NAME                stops it with SIGTERM and wants the exit code 0
//	kill9 NAME               kills it
//	exits CODE PROGRAM ARG…  wants that exit code
//	until REGEXP PROGRAM …   repeats a program until its standard output matches
//	begin NAME PROGRAM ARG…  starts a program; its output goes to NAME.out and NAME.err
//	ended NAME CODE          waits for it and wants that exit code
//	cancel FILE              cancels the first run whose id is in the file
//	retry FILE               lets the first run whose id is in the file go on
//	watch NAME FILE          begins to follow the first run whose id is in the file
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[systems{}] = map[string]*system{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"up":    start,
			"down":  func(ts *testscript.TestScript, _ bool, args []string) { running(ts, args).stop(ts) },
			"kill9": func(ts *testscript.TestScript, _ bool, args []string) { running(ts, args).kill() },
			"exits": exits,
			"until": until,
			"post":  post,
			"cancel": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Exec("switchback", "runs", "cancel", runID.FindString(ts.ReadFile(args[0]))))
			},
			"retry": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Exec("switchback", "runs", "retry", runID.FindString(ts.ReadFile(args[0]))))
			},
			"watch": func(ts *testscript.TestScript, _ bool, args []string) {
				begin(ts, args[0], program(ts, []string{"switchback", "runs", "watch", runID.FindString(ts.ReadFile(args[1]))}))
			},
			"begin": func(ts *testscript.TestScript, _ bool, args []string) { begin(ts, args[0], program(ts, args[1:])) },
			"ended": func(ts *testscript.TestScript, _ bool, args []string) {
				s := running(ts, args[:1])
				err := <-s.done
				s.done <- err
				code := 0
				if e, ok := errors.AsType[*exec.ExitError](err); ok {
					code = e.ExitCode()
				}
				if want, err := strconv.Atoi(args[1]); err != nil || code != want {
					ts.Fatalf("exit code %d, want %s", code, args[1])
				}
			},
		},
	})
}

// runID is what a run's id looks like.
var runID = regexp.MustCompile(`[0-9a-z]{26}`)

// patience bounds what a script waits for; it decides nothing but when a broken test ends.
const patience = time.Minute

// systems is the key of a script's running systems.
type systems struct{}

type system struct {
	cmd  *exec.Cmd
	done chan error
}

func running(ts *testscript.TestScript, args []string) *system {
	if len(args) != 1 {
		ts.Fatalf("want one name")
	}
	all := ts.Value(systems{}).(map[string]*system)
	s := all[args[0]]
	if s == nil {
		ts.Fatalf("%s is not running", args[0])
	}
	delete(all, args[0])
	return s
}

// begin starts a program with its output in files.
func begin(ts *testscript.TestScript, name string, cmd *exec.Cmd) *system {
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	errs, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = out, errs
	ts.Check(cmd.Start())
	s := &system{cmd: cmd, done: make(chan error, 1)}
	go func() {
		s.done <- errors.Join(cmd.Wait(), out.Close(), errs.Close())
	}()
	ts.Value(systems{}).(map[string]*system)[name] = s
	ts.Defer(s.kill)
	return s
}

func start(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	words := []string{"switchback", "up", "--admin-addr", "127.0.0.1:0"}
	outside := slices.Contains(args, "--nats")
	if !outside {
		words = append(words, "--nats-port", "0")
	}
	s := begin(ts, name, program(ts, append(words, args[1:]...)))
	ended := again(s.done, func() bool { return strings.Contains(ts.ReadFile(name+".out"), "[Runner] Ready") })
	if ended != nil {
		ts.Fatalf("%s is not ready: %v\n%s", name, ended, ts.ReadFile(name+".err"))
	}
	if at := listenerLine.FindStringSubmatch(ts.ReadFile(name + ".out")); at != nil {
		ts.Setenv("LISTENER", at[1])
	}
	if outside {
		return
	}
	at := natsLine.FindStringSubmatch(ts.ReadFile(name + ".out"))
	if at == nil {
		ts.Fatalf("%s does not say where its NATS is", name)
	}
	ts.Setenv("SWITCHBACK_NATS_URL", at[1])
	ts.Setenv("NATS_PORT", at[2])
}

var natsLine = regexp.MustCompile(`\[NATS\] Ready on (nats://127\.0\.0\.1:(\d+)),`)

var listenerLine = regexp.MustCompile(`\[Listener\] Ready on (http://\S+)`)

func post(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("want a status, a path and a body")
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, ts.Getenv("LISTENER")+args[1], strings.NewReader(args[2]))
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range args[3:] {
		name, v, _ := strings.Cut(h, ":")
		r.Header.Set(name, v)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	ts.Logf("%s", body)
	if strconv.Itoa(answer.StatusCode) != args[0] {
		ts.Fatalf("status %d, want %s", answer.StatusCode, args[0])
	}
}

var errPatience = errors.New("waited too long")

// again asks until the answer is yes. It gives why it stopped asking: the process is done, or patience is over.
func again(done chan error, ask func() bool) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	over := time.After(patience)
	for !ask() {
		select {
		case <-ticker.C:
		case err := <-done:
			done <- err
			return fmt.Errorf("it ended: %w", err)
		case <-over:
			return errPatience
		}
	}
	return nil
}

func (s *system) stop(ts *testscript.TestScript) {
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-s.done:
		s.done <- err
		if err != nil {
			ts.Fatalf("it did not stop well: %v", err)
		}
	case <-time.After(patience):
		ts.Fatalf("it does not stop")
	}
}

func (s *system) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	err := <-s.done
	s.done <- err
}

// program makes a command with the script's folder and variables.
func program(ts *testscript.TestScript, args []string) *exec.Cmd {
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SWITCHBACK_NATS_URL", "TESTSCRIPT_COVER_DIR", "GOCOVERDIR"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func until(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	var out []byte
	err = again(nil, func() bool {
		out, err = program(ts, args[1:]).Output()
		return err == nil && want.Match(out)
	})
	if err != nil {
		ts.Fatalf("no match for %s in the output\n%s", args[0], out)
	}
	ts.Logf("%s", out)
}
