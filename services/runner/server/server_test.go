package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/services/runner/server"
)

// What this program is besides the test: a server on a port, or a runner with one.
const (
	asServer = "TEST_SERVER_PORT"
	asRunner = "TEST_RUNNER_PORT"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asServer) != "":
		serve()
	case os.Getenv(asRunner) != "":
		port, _ := strconv.Atoi(os.Getenv(asRunner))
		err := server.New(slog.New(slog.DiscardHandler), os.LookupEnv).Ready(context.Background(), component(port, os.Args[0]+" & wait"))
		fmt.Fprintln(os.Stdout, "ready", err)
		select {}
	default:
		goleak.VerifyTestMain(m)
	}
}

// serve answers with its process id, and is healthy at its second look.
func serve() {
	looks := 0
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if looks++; looks < 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	http.HandleFunc("/noise", func(http.ResponseWriter, *http.Request) {
		for i := range 5000 {
			fmt.Fprintln(os.Stdout, "noise", i)
		}
		fmt.Fprintln(os.Stdout, strings.Repeat("x", 100_000))
	})
	fmt.Fprintln(os.Stdout, "listens", os.Getenv("GREETING"))
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv(asServer), nil))
	os.Exit(3)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func component(port int, line string) *compose.Component {
	return &compose.Component{ID: "model", Type: compose.HTTPServer, Server: &compose.Server{
		Start: []string{"sh", "-c", line}, Port: port, HealthPath: "/health",
		Env: map[string]*expr.Template{asServer: expr.Literal(strconv.Itoa(port)), "GREETING": expr.Literal("hello")},
	}}
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func begin(t *testing.T) (*server.Servers, *buffer) {
	t.Helper()
	var log buffer
	s := server.New(slog.New(slog.NewTextHandler(&log, nil)), func(name string) (string, bool) {
		v, ok := map[string]string{"TOKEN": "the-secret-token"}[name]
		return v, ok
	})
	t.Cleanup(s.Close)
	return s, &log
}

func get(t *testing.T, port int, path string) (string, error) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
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

// gone waits until nobody listens on a port.
func gone(t *testing.T, port int) {
	t.Helper()
	eventually(t, "the server has gone", func() bool { _, err := get(t, port, "/"); return errors.Is(err, syscall.ECONNREFUSED) })
}

func TestAServerIsStartedOnceAndGoesWithUs(t *testing.T) {
	s, log := begin(t)
	port := freePort(t)
	c := component(port, os.Args[0]+" & wait") // a child of the shell, which a signal to the shell alone would not reach
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if err := s.Ready(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	pid, err := get(t, port, "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context(), component(port, os.Args[0]+" & wait")); err != nil { // described in the same way
		t.Error(err)
	}
	if again, _ := get(t, port, "/"); again != pid {
		t.Errorf("it was started twice: %s, %s", pid, again)
	}
	eventually(t, "its output is in the log", func() bool { return strings.Contains(log.String(), `line="listens hello"`) })
	s.Close()
	gone(t, port)
	if err := s.Ready(t.Context(), c); err == nil {
		t.Error("a server is started after the end")
	}
}

func TestAServerThatEndsIsStartedAgain(t *testing.T) {
	s, _ := begin(t)
	port := freePort(t)
	c := component(port, "exec "+os.Args[0])
	if err := s.Ready(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	first, _ := get(t, port, "/")
	pid, _ := strconv.Atoi(first)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process answers", func() bool {
		now, err := get(t, port, "/")
		return err == nil && now != first
	})
	if err := s.Ready(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestAnotherDescriptionTakesThePort(t *testing.T) {
	s, _ := begin(t)
	port := freePort(t)
	one, two := component(port, "exec "+os.Args[0]), component(port, "exec "+os.Args[0]+" again")
	if err := s.Ready(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	first, _ := get(t, port, "/")
	s.Keep(&compose.Document{Components: map[string]*compose.Component{"model": one}})
	if now, _ := get(t, port, "/"); now != first {
		t.Error("a reload that changes nothing of it ends a server")
	}
	if err := s.Ready(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if now, err := get(t, port, "/"); now == first || err != nil {
		t.Errorf("%s, %v", now, err)
	}
	s.Keep(&compose.Document{})
	gone(t, port)
}

func TestWhatIsWrongIsTold(t *testing.T) {
	s, _ := begin(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken := l.Addr().(*net.TCPAddr).Port
	failing := component(freePort(t), "exit 7")
	install := component(freePort(t), "exec "+os.Args[0])
	install.Server.Install = []string{"sh", "-c", "echo no wheel >&2; exit 1"}
	for want, c := range map[string]*compose.Component{
		"port " + strconv.Itoa(taken) + " is taken by another process": component(taken, "exec "+os.Args[0]),
		"it ended with exit status 7":                                  failing,
		"its install command: it ended with exit status 1":             install,
		"does not say how its server is started":                       {ID: "x", Server: &compose.Server{Port: 1}},
	} {
		eventually(t, want, func() bool { // it is tried again and again, meanwhile
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := s.Ready(ctx, c)
			return err != nil && strings.Contains(err.Error(), want)
		})
	}
}

// TestWhatCannotStartIsToldAtOnce: nobody waits for the deadline of a job whose server cannot come.
func TestWhatCannotStartIsToldAtOnce(t *testing.T) {
	s, _ := begin(t)
	program, folder := component(freePort(t), ""), component(freePort(t), "exec "+os.Args[0])
	program.Server.Start = []string{"no-such-program"}
	folder.Server.WorkingDir = "/no/such"
	for want, c := range map[string]*compose.Component{
		"it does not start: start no-such-program": program,
		"its working_dir: stat /no/such":           folder,
	} {
		err := s.Ready(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestAServerIsGivenWhatTheFileHandsIt: also what comes from a variable, which the log does not show.
func TestAServerIsGivenWhatTheFileHandsIt(t *testing.T) {
	s, log := begin(t)
	c := component(freePort(t), "exec "+os.Args[0])
	rules := expr.Rules{Sources: map[string]expr.Arg{"env": expr.NoArg}}
	greeting, problems := expr.Compile("hi ${env.TOKEN}${env.NOT_SET}", rules)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	c.Server.Env["GREETING"] = greeting
	if err := s.Ready(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its output is in the log, without the token", func() bool { return strings.Contains(log.String(), `line="listens hi ***"`) })
}

func TestWhatAServerSaysIsBounded(t *testing.T) {
	s, log := begin(t)
	port := freePort(t)
	if err := s.Ready(t.Context(), component(port, "exec "+os.Args[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, port, "/noise"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if n := strings.Count(log.String(), "noise"); n == 0 || n > 1000 {
		t.Errorf("%d lines of 5000 are in the log", n)
	}
	if n := len(log.String()); n > 500_000 {
		t.Errorf("%d bytes of log", n)
	}
}

// TestNoServerOutlivesKill9 kills a runner that has a server.
func TestNoServerOutlivesKill9(t *testing.T) {
	port := freePort(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asRunner+"="+strconv.Itoa(port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready <nil>\n" {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := get(t, port, "/"); err != nil {
		t.Error(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	gone(t, port)
}
