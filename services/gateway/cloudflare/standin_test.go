package cloudflare_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const standIn = "CLOUDFLARED_STANDIN"

// TestMain is cloudflared's stand-in when it is asked to be.
func TestMain(m *testing.M) {
	if mode := os.Getenv(standIn); mode != "" {
		os.Exit(stand(mode))
	}
	goleak.VerifyTestMain(m)
}

func say(level, message string) {
	fmt.Fprintf(os.Stderr, `{"level":%q,"time":"2026-11-22T00:00:00Z","message":%q}`+"\n", level, message)
}

// stand behaves as cloudflared does, as was seen of the genuine one.
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
	l, err := net.Listen("tcp", os.Args[slices.Index(os.Args, "--metrics")+1])
	if err != nil {
		return 1
	}
	began := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		down := mode == "refused" || mode == "loop" || mode == "never" ||
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
	})
	mux.HandleFunc("/config", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"version":1,"config":{"ingress":[{"hostname":"hooks.example.com","service":"http://localhost:8090"},{"service":"http_status:404"}]}}`)
	})
	mux.HandleFunc("/origin", func(w http.ResponseWriter, _ *http.Request) { // what it would hand on to
		i := slices.Index(os.Args, "--url")
		fmt.Fprint(w, os.Args[i+1])
	})
	say("info", "Starting metrics server on "+l.Addr().String()+"/metrics")
	go func() { _ = http.Serve(l, mux) }()
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
	<-terminated
	return 0
}
