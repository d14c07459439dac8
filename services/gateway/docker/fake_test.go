package docker_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fake is a Docker engine as far as we ask one. Its containers do what the real ones of the tests do, without running.
type fake struct {
	host   string
	images []string

	mu         sync.Mutex
	containers map[string]*faked
	made       int
}

type faked struct {
	id, name string
	body     struct {
		Image      string
		Cmd        []string
		Env        []string
		Labels     map[string]string
		HostConfig map[string]any
	}
	state string
	code  int
	out   []byte
	ended chan struct{}
	files int // bytes that were copied into it
}

// end ends a container; the caller holds the lock.
func (c *faked) end(code int) {
	if c.state == "running" {
		c.state, c.code = "exited", code
		close(c.ended)
	}
}

var versioned = regexp.MustCompile(`^/v1\.\d+`)

func newFake(t *testing.T, images ...string) *fake {
	t.Helper()
	f := &fake{images: images, containers: map[string]*faked{}}
	socket := filepath.Join(t.TempDir(), "d.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.41") })
	mux.HandleFunc("GET /images/{name}/json", f.image)
	mux.HandleFunc("POST /images/create", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "pull access denied") })
	mux.HandleFunc("GET /networks/{name}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("name") != "bridge" {
			refuse(w, http.StatusNotFound, "network not found")
			return
		}
		answer(w, map[string]any{"Name": "bridge", "IPAM": map[string]any{"Config": []any{map[string]any{"Gateway": "127.0.0.9"}}}})
	})
	mux.HandleFunc("GET /containers/json", f.list)
	mux.HandleFunc("POST /containers/create", f.create)
	mux.HandleFunc("PUT /containers/{id}/archive", f.of(func(_ http.ResponseWriter, r *http.Request, c *faked) {
		n, _ := io.Copy(io.Discard, r.Body)
		c.files = int(n)
	}))
	mux.HandleFunc("POST /containers/{id}/start", f.of(f.start))
	mux.HandleFunc("POST /containers/{id}/wait", f.wait)
	mux.HandleFunc("GET /containers/{id}/logs", f.logs)
	mux.HandleFunc("POST /containers/{id}/stop", f.of(func(w http.ResponseWriter, _ *http.Request, c *faked) {
		if c.state == "running" {
			c.out = append(c.out, frame(1, "bye\n")...)
			c.end(0)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	mux.HandleFunc("DELETE /containers/{id}", f.of(func(w http.ResponseWriter, _ *http.Request, c *faked) {
		c.end(137)
		delete(f.containers, c.id)
		w.WriteHeader(http.StatusNoContent)
	}))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = versioned.ReplaceAllString(r.URL.Path, "")
		mux.ServeHTTP(w, r)
	}))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	f.host = "unix://" + socket
	return f
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
}

func frame(stream byte, text string) []byte {
	b := make([]byte, 8, 8+len(text))
	b[0] = stream
	binary.BigEndian.PutUint32(b[4:], uint32(len(text)))
	return append(b, text...)
}

func (f *fake) of(do func(w http.ResponseWriter, r *http.Request, c *faked)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		c := f.containers[r.PathValue("id")]
		if c == nil {
			refuse(w, http.StatusNotFound, "no such container")
			return
		}
		do(w, r, c)
	}
}

func (f *fake) image(w http.ResponseWriter, r *http.Request) {
	for _, name := range f.images {
		if name == r.PathValue("name") {
			answer(w, map[string]any{"Id": "sha256:" + name})
			return
		}
	}
	refuse(w, http.StatusNotFound, "no such image")
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var filters struct{ Label map[string]bool }
	_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters)
	all := []any{}
	for _, c := range f.containers {
		fits := true
		for label := range filters.Label {
			name, value, _ := strings.Cut(label, "=")
			fits = fits && c.body.Labels[name] == value
		}
		if fits {
			all = append(all, map[string]any{"Id": c.id, "Names": []string{"/" + c.name}, "Labels": c.body.Labels, "State": c.state})
		}
	}
	answer(w, all)
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &faked{name: r.URL.Query().Get("name"), state: "created", ended: make(chan struct{})}
	for _, other := range f.containers {
		if other.name == c.name {
			refuse(w, http.StatusConflict, "the name is in use")
			return
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&c.body); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	f.made++
	c.id = "c" + strconv.Itoa(f.made)
	f.containers[c.id] = c
	w.WriteHeader(http.StatusCreated)
	answer(w, map[string]any{"Id": c.id, "Warnings": []string{}})
}

func (f *fake) start(w http.ResponseWriter, _ *http.Request, c *faked) {
	c.state = "running"
	switch c.body.Cmd[0] {
	case "exit":
		c.out = append(frame(1, "out\n"), frame(2, "err\n")...)
		c.end(3)
	case "stay":
		c.out = frame(1, "ready\n")
	}
	w.WriteHeader(http.StatusNoContent)
}

func (f *fake) found(r *http.Request) *faked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.containers[r.PathValue("id")]
}

func (f *fake) wait(w http.ResponseWriter, r *http.Request) {
	c := f.found(r)
	if c == nil {
		refuse(w, http.StatusNotFound, "no such container")
		return
	}
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	select {
	case <-c.ended:
		answer(w, map[string]any{"StatusCode": c.code})
	case <-r.Context().Done():
	}
}

func (f *fake) logs(w http.ResponseWriter, r *http.Request) {
	c := f.found(r)
	if c == nil {
		refuse(w, http.StatusNotFound, "no such container")
		return
	}
	f.mu.Lock()
	said := c.out
	f.mu.Unlock()
	if r.URL.Query().Get("tail") != "0" {
		_, _ = w.Write(said)
	}
	w.(http.Flusher).Flush()
	select {
	case <-c.ended:
		f.mu.Lock()
		defer f.mu.Unlock()
		_, _ = w.Write(c.out[len(said):])
	case <-r.Context().Done():
	}
}

// only gives the only container.
func (f *fake) only(t *testing.T) *faked {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.containers) != 1 {
		t.Fatalf("there are %d containers", len(f.containers))
	}
	for _, c := range f.containers {
		return c
	}
	return nil
}

func (c *faked) String() string { return fmt.Sprintf("%s %s %+v", c.name, c.state, c.body) }
