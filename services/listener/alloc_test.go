package listener_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/switchbackhq/switchback/pkg/bus"
	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/services/listener"
)

// free is a Publisher that costs nothing.
type free struct{}

func (free) PublishCallback(context.Context, *event.Callback) (bus.Ack, error) { return bus.Ack{}, nil }

func (free) PublishRunRequest(context.Context, *event.RunRequest) (bus.Ack, error) {
	return bus.Ack{}, nil
}

// mapped is a listener that maps what usual callbacks hold, and mappedRequest one of them.
const mapped = `
listener:
  host: 127.0.0.1
  port: 0
  path: /done
  identify_by: ${body.task_id}
  status: ${body.status}
  success_when: [completed]
  result: {url: "${body.output.url}", w: "${body.output.width}", h: "${body.output.height}", size: "${body.output.file_size}"}
`

func mappedRequest() []byte {
	const body = `{"task_id":"task-123","status":"completed","output":{"url":"https://cdn.example/x.png","width":1024,"height":768,"file_size":1234567}}`
	return fmt.Appendf(nil, "POST /done HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// TestAllocations bounds what one usual callback costs from the socket to the answer, without publishing it.
func TestAllocations(t *testing.T) {
	s := start(t, mapped, free{}, listener.Config{}, quietly)
	request := mappedRequest()
	c := s.raw()
	if r := s.exchange(c, string(request)); r.status != http.StatusOK {
		t.Fatalf("%+v", r)
	}
	answers := bufio.NewReader(c)
	end := []byte("]}")
	n := testing.AllocsPerRun(500, func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for matched := 0; matched < len(end); {
			b, err := answers.ReadByte()
			if err != nil {
				t.Fatal(err, io.EOF)
			}
			if b == end[matched] {
				matched++
			} else {
				matched = 0
			}
		}
	})
	t.Logf("%v allocations", n)
	// Five; the race detector makes pools forget, and so a few more.
	if n > 10 {
		t.Errorf("%v allocations a request, want at most 10", n)
	}
}
