package up

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/pkg/bus"
)

// lines keeps what is said.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAChangedFileIsTakenOver edits the file of a running system as editors do.
func TestAChangedFileIsTakenOver(t *testing.T) {
	l, port := freePort(t)
	_ = l.Close()
	o, _ := options(t, house, "listener.port="+port)
	file, said := o.Compose.Files[0], &lines{}
	o.Out = said
	says := func(ctx context.Context, want string) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for !strings.Contains(said.String(), want) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("it does not say %q:\n%s", want, said)
			}
		}
		return nil
	}
	write := func(text string) error { return os.WriteFile(file, []byte(text), 0o600) }
	replace := func(text string) error { // as many editors do
		next := filepath.Join(filepath.Dir(file), ".switchback.yaml.swp")
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			return err
		}
		return os.Rename(next, file)
	}
	answers := func(ctx context.Context, path string, want int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+port+path, strings.NewReader(`{}`))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != want {
			return fmt.Errorf("%s answers %d, want %d", path, resp.StatusCode, want)
		}
		return nil
	}
	changed := strings.NewReplacer("path: /done", "path: /finished", "hello", "goodbye").Replace(house)
	o.Work = func(ctx context.Context, _ *bus.Bus) error {
		for _, step := range []func() error{
			func() error { return answers(ctx, "/in/done", 200) },
			func() error { return replace(changed) },
			func() error { return says(ctx, "[File] Read again: listener changed, component changed\n") },
			func() error { return answers(ctx, "/in/finished", 200) },
			func() error { return answers(ctx, "/in/done", 404) },
			func() error { return write(changed + "jobs: {}\n") },
			func() error {
				return says(ctx, "[File] Not taken over, all goes on as before:\n"+file+":5:1: a compose file has no section \"jobs\"")
			},
			func() error { return answers(ctx, "/in/finished", 200) },
			func() error { return write(changed) },
			func() error { return says(ctx, "[File] Read again: nothing has changed\n") },
			func() error { return write(strings.Replace(changed, "host: 127.0.0.1", "host: 127.0.0.2", 1)) },
			func() error {
				return says(ctx, "[File] Restart: listener __listener__ takes its new host after a restart\n")
			},
			func() error {
				return write(changed + "gateway: {type: ssh-tunnel, port: " + port + ", connection: {host: h, auth: {type: agent, username: u}}}\n")
			},
			func() error {
				return says(ctx, "[File] Restart: the gateways are opened after a restart: there was none\n")
			},
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
}
