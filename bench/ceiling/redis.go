package ceiling

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisServer is the program that Flow keeps its steps with where it is told to.
const RedisServer = "redis-server"

const redisReadyTime = 10 * time.Second

// redisStore is a redis-server of our own.
type redisStore struct {
	server *exec.Cmd
	client *redis.Client
}

// startRedis starts it with an append-only file that is synced every second, and returns when it answers.
func startRedis(ctx context.Context, dir string) (*redisStore, error) {
	free, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port for redis-server: %w", err)
	}
	host, port, _ := net.SplitHostPort(free.Addr().String())
	if err := free.Close(); err != nil {
		return nil, fmt.Errorf("find a port for redis-server: %w", err)
	}
	s := &redisStore{
		// close ends it, in order: a second signal would cut that short.
		server: exec.CommandContext(context.WithoutCancel(ctx), RedisServer, "--bind", host, "--port", port, "--dir", dir, //nolint:gosec // all ours
			"--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
		client: redis.NewClient(&redis.Options{Addr: net.JoinHostPort(host, port), PoolSize: 64}),
	}
	s.server.Stderr = os.Stderr
	if err := s.server.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", RedisServer, err)
	}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for tooLate := time.Now().Add(redisReadyTime); ; <-again.C {
		err := s.client.Ping(ctx).Err()
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil || time.Now().After(tooLate) {
			return nil, errors.Join(fmt.Errorf("connect to %s: %w", RedisServer, err), s.close())
		}
	}
}

// keep returns when the server has written what has happened.
func (s *redisStore) keep(ctx context.Context, id, what string, payload []byte) error {
	return s.client.HSet(ctx, "run:"+id, what, payload).Err()
}

func (s *redisStore) pid() int { return s.server.Process.Pid }

func (s *redisStore) close() error {
	err := errors.Join(s.client.Close(), s.server.Process.Signal(os.Interrupt))
	if ended := s.server.Wait(); err == nil {
		err = ended
	}
	return err
}
