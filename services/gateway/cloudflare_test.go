package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchbackhq/switchback/services/gateway"
)

// program writes a cloudflared that only notes that it was started, and stays.
func program(t *testing.T) (file string, started func() int) {
	t.Helper()
	dir := t.TempDir()
	file, notes := filepath.Join(dir, "cloudflared"), filepath.Join(dir, "started")
	if err := os.WriteFile(file, fmt.Appendf(nil, "#!/bin/sh\necho $$ >> %s\nexec sleep 600\n", notes), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return file, func() int {
		data, _ := os.ReadFile(notes)
		return strings.Count(string(data), "\n")
	}
}

// Of two processes one holds a tunnel; with replicas: all both do, also on one machine: neither ends the other's child.
func TestReplicas(t *testing.T) {
	for replicas, want := range map[string]string{"one": "standby", "all": "starting"} {
		t.Run(replicas, func(t *testing.T) {
			_, b := provisioned(t)
			file, started := program(t)
			doc := parse(t, "gateway: {driver: cloudflare, port: 8090, token: t, hostname: x.example.com, replicas: "+replicas+"}")
			c := gateway.Config{Cloudflared: file, StateDir: t.TempDir()}
			first := start(t, c, gateway.Deps{Bus: b, Document: doc})
			until(t, func() bool { return started() == 1 })
			second := start(t, c, gateway.Deps{Bus: b, Document: doc})
			until(t, func() bool { s := second.g.Statuses(); return len(s) == 1 && s[0].Status == want })
			if replicas == "all" {
				until(t, func() bool { return started() == 2 })
			}
			if s := first.g.Statuses(); len(s) != 1 || s[0].Error != "" || s[0].Attempts != 0 {
				t.Errorf("the first: %+v", s)
			}
			second.end()
			if n := started(); replicas == "one" && n != 1 || n > 2 {
				t.Errorf("%d were started", n)
			}
		})
	}
}

// until waits until it is so.
func until(t *testing.T, so func() bool) {
	t.Helper()
	tick, over := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatal("it does not become so")
		}
	}
}
