package compose_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/test/system"
)

// stepLimit bounds one command of Docker's.
const stepLimit = 5 * time.Minute

// stack is compose.yaml as it stands, under a project name of its own.
type stack struct {
	t       *testing.T
	project string
	files   []string // of variables, as --env-file
	env     []string
	port    int
}

// newStack needs an engine; where there is none, the test says so and is skipped.
func newStack(t *testing.T, name string, files ...string) *stack {
	t.Helper()
	if os.Getenv("SWITCHBACK_COMPOSE") == "" {
		t.Skip("this test drives a Docker engine for minutes: `make compose` runs it")
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("no Docker engine answers here: %v: %s", err, out)
	}
	t.Parallel() // they wait for the engine more than they work
	s := &stack{t: t, project: fmt.Sprintf("switchback-test-%s-%d", name, os.Getpid()), files: files, port: system.FreePort(t)}
	s.env = []string{"SWITCHBACK_PORT=" + strconv.Itoa(s.port)}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := s.run("logs", "--no-color", "--tail", "60")
			ps, _ := s.run("ps", "-a")
			t.Logf("%s\n%s", ps, out)
		}
		out, err := s.run("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
		if err != nil {
			t.Logf("take down the project: %v\n%s", err, out)
		}
	})
	return s
}

// root is the repository's folder.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// run runs docker compose, also when the test is over.
func (s *stack) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), stepLimit)
	defer cancel()
	all := []string{"compose", "-p", s.project}
	for _, f := range s.files {
		all = append(all, "--env-file", f)
	}
	cmd := exec.CommandContext(ctx, "docker", append(all, args...)...)
	cmd.Dir, cmd.Env = root(), append(os.Environ(), s.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *stack) compose(args ...string) string {
	s.t.Helper()
	began := time.Now()
	out, err := s.run(args...)
	if err != nil {
		s.t.Fatalf("docker compose %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	s.t.Logf("docker compose %s: %.1f s", strings.Join(args, " "), time.Since(began).Seconds())
	return out
}

// up starts what is not as the file says, and waits until all is healthy.
func (s *stack) up(args ...string) {
	s.t.Helper()
	s.compose(append([]string{"up", "-d", "--no-build", "--wait", "--wait-timeout", "180"}, args...)...)
}

// docker runs a command of Docker's.
func (s *stack) docker(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), stepLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// containers are the ids of a service's running containers.
func (s *stack) containers(service string) []string {
	s.t.Helper()
	out := s.docker("ps", "-q", "--no-trunc", "--filter", "label=com.docker.compose.project="+s.project, "--filter", "label=com.docker.compose.service="+service)
	ids := strings.Fields(out)
	if len(ids) == 0 {
		s.t.Fatalf("no container of %s runs", service)
	}
	slices.Sort(ids)
	return ids
}

// state is what the engine says of a container.
type state struct {
	State struct {
		Status string
		Pid    int
		Health *struct{ Status string }
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
	}
}

// inspect may be called by any goroutine.
func inspect(ctx context.Context, id string) (state, error) {
	out, err := exec.CommandContext(ctx, "docker", "inspect", id).Output()
	if err != nil {
		return state{}, fmt.Errorf("inspect %s: %w", id, err)
	}
	var all []state
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		return state{}, fmt.Errorf("inspect %s: %d containers: %w", id, len(all), err)
	}
	return all[0], nil
}

// address is a container's on one of the project's networks.
func (s *stack) address(ctx context.Context, id, network string) (netip.Addr, error) {
	st, err := inspect(ctx, id)
	if err != nil {
		return netip.Addr{}, err
	}
	return netip.ParseAddr(st.NetworkSettings.Networks[s.project+"_"+network].IPAddress)
}

// healthy waits until a container is: with another process than before, where it had one.
func (s *stack) healthy(id string, before int) {
	s.t.Helper()
	system.Eventually(s.t, "container "+id[:12]+" is healthy", func() error {
		st, err := inspect(s.t.Context(), id)
		switch {
		case err != nil:
			return err
		case st.State.Pid == before || st.State.Status != "running":
			return fmt.Errorf("it is %s, its process %d", st.State.Status, st.State.Pid)
		case st.State.Health != nil && st.State.Health.Status != "healthy":
			return errors.New("it is " + st.State.Health.Status)
		}
		return nil
	})
}

// kill ends a container's process as kill -9 does, and waits until the engine has started it again.
func (s *stack) kill(id string) {
	s.t.Helper()
	st, err := inspect(s.t.Context(), id)
	if err != nil || st.State.Pid == 0 {
		s.t.Fatalf("container %s has no process: %v", id[:12], err)
	}
	if err := syscall.Kill(st.State.Pid, syscall.SIGKILL); err != nil {
		// The engine is elsewhere, or its processes are not ours. Told to kill, it does not start the container again.
		s.docker("kill", "--signal", "KILL", id)
		s.docker("start", id)
	}
	s.healthy(id, st.State.Pid)
}

// restart stops a container as an update does, and starts it again.
func (s *stack) restart(id string) {
	s.t.Helper()
	st, err := inspect(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	s.docker("restart", "--time", "30", id)
	s.healthy(id, st.State.Pid)
}

// Dial makes the stack a dialer of NATS: a server is known by its service's name, and looked for anew each time.
func (s *stack) Dial(_, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ip, err := s.address(ctx, s.project+"-"+name+"-1", "nats")
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
}
