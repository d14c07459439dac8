package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// dial connects and authenticates. Every step has its bound: the library's own timeout is for TCP alone, and a server
// that takes a connection and says nothing would hold it for ever.
func dial(ctx context.Context, s *Settings) (*connection, error) {
	addr := net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	config := &ssh.ClientConfig{User: s.Username, ClientVersion: "SSH-2.0-switchback"}
	if err := trust(config, s, addr); err != nil {
		return nil, err
	}
	closeAgent, err := identify(ctx, config, s)
	if err != nil {
		return nil, err
	}
	defer closeAgent()
	dialer := &net.Dialer{Timeout: s.StepTime}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, &tunnel.Error{
			Class: tunnel.Network, Err: err, Message: "cannot reach the SSH server " + addr + ": " + dialReason(err),
			Hint: "check connection.host and connection.port, and that an SSH server listens there",
		}
	}
	if err := conn.SetDeadline(time.Now().Add(s.StepTime)); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("bound the handshake: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	sc, channels, requests, err := ssh.NewClientConn(conn, addr, config)
	stop()
	if err != nil {
		_ = conn.Close()
		return nil, explain(err, s, addr)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("lift the handshake's bound: %w", err)
	}
	return &connection{client: ssh.NewClient(sc, channels, requests), done: make(chan struct{}), urls: make(chan string, 1)}, nil
}

func dialReason(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return "its name is not known (" + e.Err + ")"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// explain tells what a failed handshake means.
func explain(err error, s *Settings, addr string) error {
	if e, ok := errors.AsType[*tunnel.Error](err); ok { // of the host key's check
		return e
	}
	message := err.Error()
	switch {
	case strings.Contains(message, "unable to authenticate"), strings.Contains(message, "message type 51"): // 51: a plain no, in the midst of questions
		return &tunnel.Error{
			Class: tunnel.Auth, Err: err, Message: fmt.Sprintf("the SSH server %s does not let %s in (tried %s)", addr, s.Username, proof(s)),
			Hint: authHint(s),
		}
	case strings.Contains(message, "no common algorithm"):
		return &tunnel.Error{
			Class: tunnel.Config, Err: err, Message: "no common algorithm with the SSH server " + addr + ": " + message,
			Hint: "update the server's SSH, or its host keys",
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &tunnel.Error{
			Class: tunnel.Network, Err: err, Message: fmt.Sprintf("%s takes connections but does not speak SSH within %s", addr, s.StepTime),
			Hint: "check connection.port: an SSH server greets at once",
		}
	default:
		return &tunnel.Error{Class: tunnel.Network, Err: err, Message: "the SSH handshake with " + addr + " failed: " + message}
	}
}

// proof is what an account is proved by.
func proof(s *Settings) string {
	switch {
	case s.Keyfile != "":
		return "the key " + s.Keyfile
	case s.Agent != "":
		return "the agent's keys"
	default:
		return "the password"
	}
}

func authHint(s *Settings) string {
	switch {
	case s.Keyfile != "":
		return "add " + s.Keyfile + ".pub to ~/.ssh/authorized_keys of " + s.Username + " on the server, or check username"
	case s.Agent != "":
		return "`ssh-add -l` lists the agent's keys: one of them must be in ~/.ssh/authorized_keys on the server"
	default:
		return "check username and password, and that the server has PasswordAuthentication yes"
	}
}

// identify sets how the account is proved. The function that it gives is called after the handshake.
func identify(ctx context.Context, config *ssh.ClientConfig, s *Settings) (done func(), err error) {
	none := func() {}
	switch {
	case s.Keyfile != "":
		signer, err := readKey(s.Keyfile, s.Passphrase)
		if err != nil {
			return none, err
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
		return none, nil
	case s.Agent != "":
		// One connection to the agent for each attempt: a shared one can lock up, and the bound of the handshake
		// does not reach it.
		conn, err := (&net.Dialer{Timeout: s.StepTime}).DialContext(ctx, "unix", s.Agent)
		if err != nil {
			return none, &tunnel.Error{
				Class: tunnel.Config, Err: err, Message: "cannot reach the SSH agent at " + s.Agent + ": " + dialReason(err),
				Hint: "start one (`eval $(ssh-agent)`, `ssh-add`) so that SSH_AUTH_SOCK leads to it",
			}
		}
		if err := conn.SetDeadline(time.Now().Add(s.StepTime)); err != nil {
			_ = conn.Close()
			return none, fmt.Errorf("bound the agent's answers: %w", err)
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(agent.NewClient(conn).Signers)}
		return func() { _ = conn.Close() }, nil
	default:
		answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = s.Password
			}
			return answers, nil
		}
		config.Auth = []ssh.AuthMethod{ssh.Password(s.Password), ssh.KeyboardInteractive(answer)}
		return none, nil
	}
}

// CheckKey reads a private key, so that a wrong one is told before any connection.
func CheckKey(file, passphrase string) error {
	_, err := readKey(file, passphrase)
	return err
}

// othersMode are the permissions that let others than the owner read.
const othersMode = 0o077

func readKey(file, passphrase string) (ssh.Signer, error) {
	wrong := func(err error, hint, format string, args ...any) error {
		return &tunnel.Error{Class: tunnel.Config, Err: err, Message: "the key file " + file + " " + fmt.Sprintf(format, args...), Hint: hint}
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, wrong(err, "check connection.auth.keyfile, or make one: ssh-keygen -t ed25519", "cannot be read: %s", pathReason(err))
	}
	if info.Mode().Perm()&othersMode != 0 {
		return nil, wrong(nil, "chmod 600 "+file, "can be read by others (mode %04o)", info.Mode().Perm())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, wrong(err, "check who owns it", "cannot be read: %s", pathReason(err))
	}
	var signer ssh.Signer
	if passphrase != "" {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data, []byte(passphrase))
	} else {
		signer, err = ssh.ParsePrivateKey(data)
	}
	if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		return nil, wrong(err, "set connection.auth.passphrase: ${env.SSH_PASSPHRASE}", "needs a passphrase")
	}
	if err != nil && strings.Contains(err.Error(), "decryption password incorrect") {
		return nil, wrong(err, "check connection.auth.passphrase", "has another passphrase")
	}
	if err != nil {
		return nil, wrong(err, "it must be a private key in OpenSSH or PEM form, not its .pub", "is no private key: %s", err)
	}
	return signer, nil
}

func pathReason(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
