package listener_test

import (
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/services/listener"
)

// TestReload changes the endpoints of a running listener.
func TestReload(t *testing.T) {
	f := &fake{}
	s := start(t, hooks, f, listener.Config{})
	post := func(path, body string) *response {
		t.Helper()
		r, err := try(client(t), newRequest(t, "POST", s.url(path), body))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := post("/done", `{"task_id":"a","status":"completed"}`); r.status != 200 {
		t.Fatalf("%+v", r)
	}

	another := strings.NewReplacer("path: /done", "path: /finished", "${body.task_id}", "${body.ref}").Replace(hooks)
	waiting, err := s.l.Reload(t.Context(), document(t, another))
	if err != nil || len(waiting) > 0 {
		t.Fatalf("%q, %v", waiting, err)
	}
	if r := post("/done", `{"task_id":"b","status":"completed"}`); r.status != 404 {
		t.Errorf("an endpoint that has gone: %+v", r)
	}
	if r := post("/finished", `{"ref":"c","status":"completed"}`); r.status != 200 {
		t.Errorf("a new endpoint: %+v", r)
	}
	if got := f.stored(); len(got) != 2 || got[1].ID != "c" {
		t.Errorf("stored: %+v", got)
	}

	// What cannot be served changes nothing.
	bad := strings.Replace(another, "path: /finished", "path: /done\n      verify: {type: github, secret: \"${env.UNSET}\"}", 1)
	if waiting, err := s.l.Reload(t.Context(), document(t, bad)); err == nil {
		t.Errorf("an endpoint without its secret is taken over: %q", waiting)
	}
	if r := post("/finished", `{"ref":"d","status":"completed"}`); r.status != 200 {
		t.Errorf("after a file that cannot be served: %+v", r)
	}

	// What needs a restart is told, and the rest counts at once.
	sockets := strings.Replace(hooks, "port: 0", "port: 8097", 1) + "    - {path: /late, identify_by: \"${body.id}\"}\n"
	waiting, err = s.l.Reload(t.Context(), document(t, sockets))
	if err != nil || len(waiting) != 1 || !strings.Contains(waiting[0], "takes its new port after a restart") {
		t.Errorf("%q, %v", waiting, err)
	}
	if r := post("/late", `{"id":"e"}`); r.status != 200 {
		t.Errorf("%+v", r)
	}
	two := "listeners:\n  - {id: other, host: 127.0.0.1, port: 8098, path: /x}\n"
	waiting, err = s.l.Reload(t.Context(), document(t, two))
	if err != nil || len(waiting) != 2 || !strings.Contains(waiting[0], "has gone") || !strings.Contains(waiting[1], "is new") {
		t.Errorf("%q, %v", waiting, err)
	}
	if r := post("/late", `{"id":"f"}`); r.status != 200 {
		t.Errorf("a listener that has gone from the file serves until a restart: %+v", r)
	}
}
