package docker_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/docker/dockertest"
)

func TestWhatAContainerSaysAndEndsWith(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		c, out := start(t, p.open(docker.Settings{}, ""), docker.Spec{Name: "a", Image: p.image, Args: []string{"exit"}})
		if code := ended(t, c); code != 3 {
			t.Errorf("it ends with %d", code)
		}
		if got := out.String(); !strings.Contains(got, "out\n") || !strings.Contains(got, "err\n") {
			t.Errorf("it says %q", got)
		}
		if err := c.Stop(t.Context(), 0); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

func TestStopAsksFirst(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		e := p.open(docker.Settings{}, "")
		c, out := start(t, e, docker.Spec{Name: "a", Image: p.image, Args: []string{"stay"}})
		out.await(t, "ready")
		if err := c.Stop(t.Context(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if code := ended(t, c); code != 0 || !strings.Contains(out.String(), "bye") {
			t.Errorf("it ends with %d, and says %q", code, out)
		}
		// Nothing is left: the next one is new.
		again, _ := start(t, e, docker.Spec{Name: "a", Image: p.image, Args: []string{"stay"}})
		if again.Adopted || again.ID == c.ID {
			t.Error("the container was left")
		}
		if err := again.Stop(t.Context(), 10*time.Second); err != nil {
			t.Error(err)
		}
	})
}

// What a process that was killed has left is adopted when it is as it is wanted, and else replaced; others' is left alone.
func TestWhatIsLeftIsAdoptedOrRemoved(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		spec := docker.Spec{Name: "a", Image: p.image, Args: []string{"stay"}, Env: []string{"A=1", "B=2"}}
		first, out := start(t, p.open(docker.Settings{}, ""), spec)
		out.await(t, "ready")
		others, out := start(t, p.open(docker.Settings{}, "other"), spec)
		out.await(t, "ready")

		e := p.open(docker.Settings{}, "") // another process
		spec.Env = []string{"B=2", "A=1"}
		second, heard := start(t, e, spec)
		if !second.Adopted || second.ID != first.ID {
			t.Errorf("%+v was not adopted: %+v", first, second)
		}
		spec.Env = []string{"A=2"}
		third, _ := start(t, e, spec)
		if third.Adopted || third.ID == first.ID {
			t.Error("one that is not as it is wanted was adopted")
		}
		ended(t, second)
		if strings.Contains(heard.String(), "ready") {
			t.Errorf("what it had said before was said again: %q", heard)
		}
		if err := e.Sweep(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		ended(t, third)
		select {
		case <-others.Ended():
			t.Error("another owner's container was ended")
		default:
		}
		for _, c := range []*docker.Container{first, second, third, others} {
			if err := c.Stop(t.Context(), 10*time.Second); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
}

func TestSweepKeepsWhatIsWanted(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		e := p.open(docker.Settings{}, "")
		stays, _ := start(t, e, docker.Spec{Name: "x-stays", Image: p.image, Args: []string{"stay"}})
		goes, _ := start(t, e, docker.Spec{Name: "x-goes", Image: p.image, Args: []string{"stay"}})
		other, _ := start(t, e, docker.Spec{Name: "y", Image: p.image, Args: []string{"stay"}})
		if err := e.Sweep(t.Context(), "x-", []string{"x-stays"}); err != nil {
			t.Fatal(err)
		}
		ended(t, goes)
		for _, c := range []*docker.Container{stays, other} {
			select {
			case <-c.Ended():
				t.Error("one that is wanted was ended")
			default:
			}
		}
		for _, c := range []*docker.Container{stays, other, goes} {
			if err := c.Stop(t.Context(), 10*time.Second); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
}

// What a container is asked to be, as the engine is told, and as it is.
func TestAContainerMayLittle(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		f := newFake(t, "says:1")
		t.Setenv("DOCKER_HOST", f.host)
		c, _ := start(t, opener(t)(docker.Settings{}, ""), docker.Spec{
			Name: "a", Image: "says:1", Args: []string{"stay"}, Files: map[string][]byte{"/run/a/b": []byte("secret")},
		})
		got := f.only(t)
		h := got.body.HostConfig
		if h["ReadonlyRootfs"] != true || !slices.Equal(h["CapDrop"].([]any), []any{"ALL"}) || h["Privileged"] == true || h["NetworkMode"] != "host" {
			t.Errorf("%v", got)
		}
		if got.files == 0 || strings.Contains(got.String(), "secret") {
			t.Errorf("the file was not copied, or is shown: %v", got)
		}
		if err := c.Stop(t.Context(), 0); err != nil {
			t.Error(err)
		}
	})
	t.Run("real", func(t *testing.T) {
		image := dockertest.Image(t, dockertest.Client(t), "testdata/says", "says")
		c, out := start(t, opener(t)(docker.Settings{}, ""), docker.Spec{
			Name: "a", Image: image, Args: []string{"may", "/home/me/key"}, Files: map[string][]byte{"/home/me/key": []byte("secret")},
		})
		ended(t, c)
		for _, want := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "user 65532", "write: open /x: read-only file system", "file: secret <nil>"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if err := c.Stop(t.Context(), 0); err != nil {
			t.Error(err)
		}
	})
}

// refused gives the error of a container that cannot be started.
func refused(t *testing.T, e *docker.Engine, spec docker.Spec) error {
	t.Helper()
	c, err := e.Start(t.Context(), &spec)
	if err == nil {
		t.Fatal(c.Stop(t.Context(), 0), "it was started")
	}
	return err
}

func TestNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	e := opener(t)(docker.Settings{}, "")
	for _, err := range []error{e.Check(t.Context()), refused(t, e, docker.Spec{Name: "a", Image: "x"})} {
		if !strings.HasPrefix(err.Error(), "runtime: docker needs a Docker engine, and none answers at unix://") || !strings.Contains(fault.HintOf(err), "start Docker") {
			t.Errorf("%v: %s", err, fault.HintOf(err))
		}
	}
}

func TestNoImage(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		if p.fake == nil {
			t.Skip("a real engine would ask a registry")
		}
		err := refused(t, p.open(docker.Settings{}, ""), docker.Spec{Name: "a", Image: "switchback/none:0"})
		if !strings.Contains(err.Error(), "the image switchback/none:0 is not at the Docker engine and cannot be pulled") || fault.HintOf(err) == "" {
			t.Errorf("%v", err)
		}
	})
}

// A container with a network of its own does not get to what listens on the loopback alone: it is not started for it.
func TestTheLoopbackTrap(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		e := p.open(docker.Settings{Network: "bridge"}, "")
		spec := docker.Spec{Name: "a", Image: p.image, Args: []string{"stay"}, Reaches: map[string]string{"localhost:" + port: "the listener"}}
		err = refused(t, e, spec)
		if !strings.Contains(err.Error(), "the listener listens on localhost:"+port+", this machine's loopback, where no container") || !strings.Contains(fault.HintOf(err), "SWITCHBACK_DOCKER_NETWORK=host") {
			t.Errorf("%v: %s", err, fault.HintOf(err))
		}
		if p.fake != nil {
			return
		}
		// Where everybody listens it is reached, by the name that the engine gives.
		all, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		defer all.Close()
		_, port, _ = net.SplitHostPort(all.Addr().String())
		spec.Args, spec.Reaches = []string{"dial", e.LocalName() + ":" + port}, map[string]string{"localhost:" + port: "the listener"}
		c, out := start(t, e, spec)
		ended(t, c)
		if !strings.Contains(out.String(), "dial: ok") {
			t.Errorf("%s", out)
		}
		if err := c.Stop(t.Context(), 0); err != nil {
			t.Error(err)
		}
	})
	t.Run("network", func(t *testing.T) {
		f := newFake(t, "says:1")
		t.Setenv("DOCKER_HOST", f.host)
		err := refused(t, opener(t)(docker.Settings{Network: "nowhere"}, ""), docker.Spec{
			Name: "a", Image: "says:1", Args: []string{"stay"}, Reaches: map[string]string{"localhost:1": "x"},
		})
		if !strings.Contains(err.Error(), "has no network nowhere") {
			t.Errorf("%v", err)
		}
	})
}

// A container that ends is started again, until it is told to stop; then nothing is left of it.
func TestKeeper(t *testing.T) {
	everywhere(t, func(p *place) {
		t := p.t
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out := &buffer{changed: make(chan struct{}, 1)}
		runs, broken := 0, ""
		e := p.open(docker.Settings{}, "")
		k := &docker.Keeper{
			Engine: e, Spec: &docker.Spec{Name: "a", Image: p.image, Args: []string{"exit"}}, Grace: time.Second, Log: slog.New(slog.NewTextHandler(out, nil)),
			Line: func(line string) {
				if line != "out" {
					t.Errorf("it says %q", line)
				}
			},
			Runs: func(bool) {
				if runs++; runs == 2 {
					cancel()
				}
			},
			Broken: func(err error, _ time.Duration) { broken = err.Error() },
		}
		if err := k.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if want := "the container a has ended with code 3: err"; broken != want || runs != 2 {
			t.Errorf("%d times, %q, want %q", runs, broken, want)
		}
		if !strings.Contains(out.String(), "level=WARN msg=err") {
			t.Errorf("its log: %s", out)
		}
	})
}
