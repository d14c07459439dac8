package runner_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/switchbackhq/switchback/pkg/event"
)

// asServer makes this program the server of a component: on this port.
const asServer = "TEST_SERVER_PORT"

func serve() {
	http.HandleFunc("/v1/shout", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"loud":%s}`, strings.ToUpper(string(body)))
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe("127.0.0.1:"+os.Getenv(asServer), nil))
	os.Exit(1)
}

// TestAComponentWithAServerOfItsOwn runs it where that is allowed.
func TestAComponentWithAServerOfItsOwn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	file := fmt.Sprintf(`
component:
  type: http-server
  start: [%q]
  env: {%s: "%d"}
  port: %d
  base_path: /v1
  path: /shout
  body: {text: "${input.text}"}
workflow: {id: work, job: {output: "${output.loud.TEXT}"}}
`, os.Args[0], asServer, port, port)
	b := begin(t, file)
	b.ask("work", "no", `{"text":"a"}`)
	if run := b.status("no", event.StatusFailed); run.Error.Code != "not_allowed" || !strings.Contains(run.Error.Message, "ALLOW_HTTP_SERVER") {
		t.Errorf("where it is not allowed: %+v", run.Error)
	}
	b.stop()
	b.config.AllowHTTPServer = true
	stop := b.start(file)
	b.ask("work", "yes", `{"text":"hello"}`)
	if run := b.status("yes", event.StatusCompleted); string(run.Output) != `"HELLO"` {
		t.Errorf("output: %s", run.Output)
	}
	stop()
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the server has outlived its runner")
	}
}
