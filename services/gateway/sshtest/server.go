package sshtest

import (
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Server is an SSH server in this process that does as told.
type Server struct {
	Addr    string
	Port    int
	HostKey ssh.PublicKey

	Password string // of everybody
	Announce string // said in a session
	Mute     bool   // requests to forward are not answered

	l     net.Listener
	work  sync.WaitGroup
	mu    sync.Mutex
	conns []*ssh.ServerConn
	binds []string // host:port asked for
}

// StartServer starts a server; change is called before it takes connections.
func StartServer(t testing.TB, change func(s *Server)) *Server {
	t.Helper()
	_, host := Key(t, t.TempDir(), "host")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{l: l, Addr: l.Addr().String(), HostKey: host.PublicKey(), Password: "open sesame"}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.Port, _ = strconv.Atoi(port)
	if change != nil {
		change(s)
	}
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if string(password) != s.Password {
			return nil, io.EOF
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	s.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.work.Go(func() { s.serve(c, config) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.Drop()
		s.work.Wait()
	})
	return s
}

// Drop ends all connections.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// Binds are the addresses that were asked for.
func (s *Server) Binds() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.binds...)
}

func (s *Server) serve(c net.Conn, config *ssh.ServerConfig) {
	defer func() { _ = c.Close() }()
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	s.work.Go(func() {
		for r := range requests {
			s.request(r)
		}
	})
	for n := range channels {
		if n.ChannelType() != "session" {
			_ = n.Reject(ssh.UnknownChannelType, "no")
			continue
		}
		channel, asked, err := n.Accept()
		if err != nil {
			return
		}
		s.work.Go(func() {
			for r := range asked {
				_ = r.Reply(true, nil)
				if r.Type == "shell" {
					_, _ = io.WriteString(channel, s.Announce)
				}
			}
		})
	}
}

// request answers a request of the connection: forwards are granted, and nothing is ever sent by them.
func (s *Server) request(r *ssh.Request) {
	if r.Type != "tcpip-forward" {
		_ = r.Reply(r.Type == "cancel-tcpip-forward", nil)
		return
	}
	var bind struct {
		Host string
		Port uint32
	}
	if ssh.Unmarshal(r.Payload, &bind) != nil {
		return
	}
	s.mu.Lock()
	s.binds = append(s.binds, net.JoinHostPort(bind.Host, strconv.Itoa(int(bind.Port))))
	s.mu.Unlock()
	if s.Mute {
		return
	}
	const picked = 40000
	_ = r.Reply(true, binary.BigEndian.AppendUint32(nil, picked))
}
