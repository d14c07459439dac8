// Package embed runs nats-server inside this process, on a folder that it locks against a second one.
package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// MaxPayload is the largest message that other clients may send: ours put what is larger than streams.max_inline into the object
// store. It is the most that nats-server recommends.
const MaxPayload = 8 << 20

// startTimeout bounds the start: a large folder is read through after a crash.
const (
	startTimeout = 2 * time.Minute
	startStep    = 200 * time.Millisecond
)

// Options say where the server keeps its data and listens.
type Options struct {
	Dir  string
	Port int // 0 picks a free one
	// SyncInterval is how often what is stored is forced to the disk: what a power cut can take away.
	// Zero forces it on every message.
	SyncInterval time.Duration
	Logger       *slog.Logger
}

// Server is a running nats-server. As a service (Run) it watches over it.
type Server struct {
	o     Options
	lock  *flock.Flock
	url   string
	every time.Duration // watchEvery

	mu   sync.Mutex
	nats *server.Server // nil: it is being started again
	why  error          // it does not store now; nil: it does
}

// Start starts the server. It refuses a folder that another process uses and a port that is taken.
func Start(ctx context.Context, o Options) (*Server, error) {
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, o)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	if addr, ok := s.Addr().(*net.TCPAddr); ok {
		o.Port = addr.Port // should it be started again, its clients look for it there
	}
	return &Server{o: o, nats: s, lock: lock, every: watchEvery, url: "nats://" + s.Addr().String()}, nil
}

// URL is where other processes on this machine find the server.
func (s *Server) URL() string { return s.url }

// InProcessConn connects from within the process, without a socket.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nats == nil {
		return nil, errors.New("the NATS server is being started again")
	}
	return s.nats.InProcessConn()
}

// Stop stops the server, waits until it has, and frees the folder. Its clients should have closed before, and Run have returned.
func (s *Server) Stop() error {
	s.halt()
	if err := s.lock.Unlock(); err != nil {
		return fmt.Errorf("unlock the data folder: %w", err)
	}
	return nil
}

// lockDir takes the folder for this process. nats-server itself would let two servers write into one.
func lockDir(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cannot make the data folder", "name another with --data-dir")
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cannot lock the data folder "+dir, "name another with --data-dir")
	}
	if !held {
		return nil, fault.New(fault.Conflict, "another switchback up is running on the data folder "+dir,
			"stop that one, or start this one with --data-dir and --nats-port of its own")
	}
	return lock, nil
}

func start(ctx context.Context, o Options) (*server.Server, error) {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port))
	if err := free(ctx, addr, o.Port); err != nil {
		return nil, err
	}
	port := o.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "switchback", Host: "127.0.0.1", Port: port,
		JetStream: true, StoreDir: o.Dir, SyncInterval: o.SyncInterval, SyncAlways: o.SyncInterval == 0,
		MaxPayload: MaxPayload, NoSigs: true, DisableShortFirstPing: true,
		NoSublistCache: true, // nearly every message has a subject of its own: it would be filled for nothing
	})
	if err != nil {
		return nil, fmt.Errorf("configure the NATS server: %w", err)
	}
	log := &logger{log: o.Logger}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := ready(ns, log); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fault.Wrap(err, fault.Unavailable, "cannot start the NATS server in "+o.Dir, "")
	}
	return ns, nil
}

// ready waits until clients can connect. The server goes on trying after what it calls fatal; we do not.
func ready(ns *server.Server, log *logger) error {
	for deadline := time.Now().Add(startTimeout); ; {
		ok := ns.ReadyForConnections(startStep)
		if err := log.failure(); err != nil {
			return err
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("it is not ready after " + startTimeout.String())
		}
	}
}

// free tells whether the port can be had. The server would say so in its log only.
func free(ctx context.Context, addr string, port int) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fault.New(fault.Conflict, fmt.Sprintf("port %d for NATS (--nats-port) is taken", port),
			"stop what uses it, name another with --nats-port, or use a NATS server that runs already with --nats nats://127.0.0.1:"+strconv.Itoa(port))
	}
	return fault.Wrap(err, fault.Invalid, fmt.Sprintf("cannot listen on port %d for NATS (--nats-port)", port), "name another with --nats-port")
}

// logger writes the server's log through slog. What the server merely notes is for debugging here.
type logger struct {
	log *slog.Logger

	mu    sync.Mutex
	fatal error
}

func (l *logger) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l *logger) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *logger) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }

// Fatalf keeps why the server cannot start; Start gives it to its caller, who says it once.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = fmt.Errorf(format, v...)
	}
}

func (l *logger) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats-server", slog.String("text", fmt.Sprintf(format, v...)))
	}
}

func (l *logger) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
