package runner

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// gate is where a runner waits before each operation on NATS.
type gate struct {
	arrived chan string
	pass    chan struct{}

	mu   sync.Mutex
	open chan struct{} // closed while it does not wait
	dead bool
}

func newGate() *gate {
	g := &gate{arrived: make(chan string), pass: make(chan struct{}), open: make(chan struct{})}
	close(g.open)
	return g
}

// shut makes the runner wait from now on, or lets it go.
func (g *gate) shut(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if shut {
		g.open = make(chan struct{})
	} else {
		close(g.open)
	}
}

func (g *gate) kill() {
	g.mu.Lock()
	g.dead = true
	g.mu.Unlock()
	g.shut(false)
}

func (g *gate) state() (open <-chan struct{}, dead bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.dead
}

// wait waits until the runner may go on, and tells whether it lives.
func (g *gate) wait(subj string) bool {
	open, _ := g.state()
	select {
	case <-open:
	case g.arrived <- subj:
		select {
		case <-open:
		case <-g.pass:
		}
	}
	_, dead := g.state()
	return !dead
}

// wired is the server as a runner sees it: behind its gate.
type wired struct {
	server *server.Server
	gate   *gate
}

func (w wired) InProcessConn() (net.Conn, error) {
	if _, dead := w.gate.state(); dead {
		return nil, errors.New("the runner is dead")
	}
	c, err := w.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c, gate: w.gate}, nil
}

// wire is a runner's connection.
type wire struct {
	net.Conn

	gate *gate
	rest []byte // of a message that is not complete
}

// Write gives the server one message after another.
func (w *wire) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for len(w.rest) > 0 {
		end := bytes.Index(w.rest, []byte("\r\n"))
		if end < 0 {
			break
		}
		n := end + 2
		fields := strings.Fields(string(w.rest[:end]))
		if len(fields) > 2 && (fields[0] == "PUB" || fields[0] == "HPUB") {
			size, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				return 0, fmt.Errorf("%q: %w", w.rest[:end], err)
			}
			if n += size + 2; len(w.rest) < n {
				break
			}
			subj := fields[1]
			if !strings.HasPrefix(subj, "$JS.API.STREAM.INFO.") && !strings.HasPrefix(subj, "run.event.") && !strings.HasPrefix(subj, "run.command.") && !w.gate.wait(subj) {
				return 0, net.ErrClosed
			}
		}
		if _, err := w.Conn.Write(w.rest[:n]); err != nil {
			return 0, fmt.Errorf("to the server: %w", err)
		}
		w.rest = w.rest[n:]
	}
	return len(p), nil
}
