package docker_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/services/gateway/docker"
	"github.com/switchbackhq/switchback/services/gateway/docker/dockertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience only ends a test that has failed.
const patience = 60 * time.Second

// place is an engine and an image at it.
type place struct {
	t     *testing.T
	open  func(s docker.Settings, owner string) *docker.Engine
	image string
	fake  *fake // nil: the engine is real
}

// everywhere runs a test at a fake engine, and at a real one where there is one.
func everywhere(t *testing.T, test func(p *place)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) {
		f := newFake(t, "says:1")
		t.Setenv("DOCKER_HOST", f.host)
		test(&place{t: t, open: opener(t), image: "says:1", fake: f})
	})
	t.Run("real", func(t *testing.T) {
		c := dockertest.Client(t)
		test(&place{t: t, open: opener(t), image: dockertest.Image(t, c, "testdata/says", "says")})
	})
}

func opener(t *testing.T) func(s docker.Settings, owner string) *docker.Engine {
	t.Helper()
	return func(s docker.Settings, owner string) *docker.Engine {
		t.Helper()
		e, err := docker.Open(s, t.Name()+owner, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Sweep(context.Background(), "", nil); err != nil {
				t.Logf("sweep: %v", err)
			}
			e.Close()
		})
		return e
	}
}

// start starts a container, and gives what it says.
func start(t *testing.T, e *docker.Engine, spec docker.Spec) (*docker.Container, *buffer) {
	t.Helper()
	out := &buffer{changed: make(chan struct{}, 1)}
	spec.Stdout, spec.Stderr = out, out
	c, err := e.Start(t.Context(), &spec)
	if err != nil {
		t.Fatal(err)
	}
	return c, out
}

func ended(t *testing.T, c *docker.Container) int {
	t.Helper()
	select {
	case <-c.Ended():
	case <-time.After(patience):
		t.Fatal("the container does not end")
	}
	code, err := c.Result()
	if err != nil {
		t.Errorf("result: %v", err)
	}
	return code
}

type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await waits until it holds text.
func (b *buffer) await(t *testing.T, text string) {
	t.Helper()
	over := time.After(patience)
	for !strings.Contains(b.String(), text) {
		select {
		case <-b.changed:
		case <-over:
			t.Fatalf("it does not say %q: %s", text, b)
		}
	}
}
