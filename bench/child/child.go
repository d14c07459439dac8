// Package child runs each part of a bench in a process of its own, so that its CPU and memory can be told apart:
// the same binary, started again with a hidden word, and spoken to in JSON-RPC over two pipes.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"time"
)

// Word is the hidden first argument of a child; the second names its role.
const Word = "__child"

// The child's ends of the two pipes. Not stdout: whatever a part prints must not end up among the answers.
const (
	fdRequests = 3
	fdAnswers  = 4
)

// closingTime is how long a child may take to close after its parent has gone or told it to.
const closingTime = 15 * time.Second

// Role makes what a child does: a value with net/rpc methods. Its Close, where it has one, is called before the child ends.
type Role func(ctx context.Context) any

// Nothing is the argument or the answer of a call that has none.
type Nothing struct{}

// Wanted tells whether the arguments (without the program) are those of a child.
func Wanted(args []string) bool { return len(args) == 2 && args[0] == Word }

// Main is the whole life of a child: it answers calls until the parent closes the pipe or dies. It returns the exit code.
func Main(role string, roles map[string]Role) int {
	create, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "bench: there is no role %q\n", role)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	service := create(ctx)
	server := rpc.NewServer()
	if err := errors.Join(server.RegisterName("Role", service), server.RegisterName("Process", &self{role: service})); err != nil {
		fmt.Fprintf(os.Stderr, "bench: register role %s: %v\n", role, err)
		return 2
	}
	pipe := &pipes{
		requests: os.NewFile(fdRequests, "requests"),
		answers:  os.NewFile(fdAnswers, "answers"),
		ended: func() {
			cancel() // frees the calls under way, which ServeCodec waits for
			time.AfterFunc(closingTime, func() { os.Exit(3) })
		},
	}
	server.ServeCodec(jsonrpc.NewServerCodec(pipe))
	if c, ok := service.(io.Closer); ok {
		if err := c.Close(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: close role %s: %v\n", role, err)
			return 1
		}
	}
	return 0
}

// pipes joins both pipes into one connection and tells when the parent has gone.
type pipes struct {
	requests io.ReadCloser
	answers  io.WriteCloser
	ended    func()
}

func (p *pipes) Read(b []byte) (int, error) {
	n, err := p.requests.Read(b)
	if err != nil && p.ended != nil {
		p.ended()
		p.ended = nil
	}
	return n, err
}

func (p *pipes) Write(b []byte) (int, error) { return p.answers.Write(b) }

func (p *pipes) Close() error { return errors.Join(p.requests.Close(), p.answers.Close()) }
