// Package cloudflaretest is a process for tests that behaves as cloudflared does, as was seen of the genuine one.
package cloudflaretest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Env says which way of behaving, to a process that is the stand-in.
const Env = "CLOUDFLARED_STANDIN"

// Run is the stand-in, in a process that is to be one, and gives its exit code. A TestMain calls it first.
func Run() (code int, stoodIn bool) {
	mode := os.Getenv(Env)
	if mode == "" {
		return 0, false
	}
	return stand(mode), true
}

// Program gives a program that starts the stand-in with a way of behaving.
func Program(t testing.TB, mode string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cloudflared")
	if err := os.WriteFile(file, fmt.Appendf(nil, "#!/bin/sh\nGORACE=atexit_sleep_ms=0 %s=%s exec %q \"$@\"\n", Env, mode, self), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return file
}

func say(level, message string) {
	fmt.Fprintf(os.Stderr, `{"level":%q,"time":"2026-11-22T00:00:00Z","message":%q}`+"\n", level, message)
}

// stand is the process.
func stand(mode string) int {
	if slices.ContainsFunc(os.Args, func(a string) bool { return strings.Contains(a, "secret") }) {
		say("error", "a secret is in the arguments")
		return 9
	}
	if home := os.Getenv("HOME"); home != "/tmp" && !strings.Contains(home, "cloudflared-") || os.Getenv("SHOULD_NOT_BE_SEEN") != "" {
		say("error", "the environment is not private")
		return 9
	}
	switch mode {
	case "429":
		fmt.Fprintln(os.Stderr, `{"level":"error","message":"Error unmarshaling QuickTunnel response: error code: 1015","status_code":"429 Too Many Requests"}`)
		fmt.Fprintln(os.Stderr, "failed to unmarshal quick Tunnel: invalid character 'e' looking for beginning of value")
		return 1
	case "bad-token":
		fmt.Fprintln(os.Stderr, "Provided Tunnel token is not valid.")
		return 255
	case "dns":
		say("error", "lookup api.trycloudflare.com: no such host")
		return 1
	}
	terminated := make(chan os.Signal, 1)
	if mode == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(terminated, syscall.SIGTERM)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", os.Args[slices.Index(os.Args, "--metrics")+1])
	if err != nil {
		return 1
	}
	began := time.Now()
	lost := make(chan struct{})
	lose := sync.OnceFunc(func() { close(lost) })
	var named atomic.Bool // its name was told
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if mode == "lost" && named.Load() {
			lose()
		}
		down := mode == "refused" || mode == "lost" || mode == "loop" || mode == "never" ||
			mode == "flap" && time.Since(began) > 300*time.Millisecond && time.Since(began) < 600*time.Millisecond
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/quicktunnel", func(w http.ResponseWriter, _ *http.Request) {
		host := "quick.trycloudflare.test"
		if os.Getenv("TUNNEL_TOKEN") != "" {
			host = ""
		}
		fmt.Fprintf(w, `{"hostname":%q}`, host)
		named.Store(true)
	})
	mux.HandleFunc("/config", func(w http.ResponseWriter, _ *http.Request) {
		if mode == "nameless" {
			fmt.Fprint(w, `{"version":0,"config":{"ingress":[{"service":"http_status:503"}]}}`)
			return
		}
		fmt.Fprint(w, `{"version":1,"config":{"ingress":[{"hostname":"hooks.example.com","service":"http://localhost:8090"},{"service":"http_status:404"}]}}`)
	})
	say("info", "Starting metrics server on "+l.Addr().String()+"/metrics")
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	switch mode {
	case "refused":
		for range 3 {
			say("error", "Register tunnel error from server side: Unauthorized: Invalid tunnel secret")
		}
	case "loop":
		for range 20000 {
			say("error", "Unable to establish connection")
		}
	}
	select {
	case <-lost:
		say("error", "Unable to establish connection: connection refused")
		return 1
	case <-terminated:
		return 0
	}
}
