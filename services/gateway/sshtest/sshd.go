// Package sshtest runs SSH servers for tests: Debian's own, one in the process that misbehaves as told, and bad paths to them.
package sshtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// patience only ends a test that has failed.
const patience = 30 * time.Second

// Sshd is OpenSSH's server, without privileges, on a port of 127.0.0.1.
type Sshd struct {
	Addr       string // host:port
	Port       int
	User       string
	Keyfile    string // of User, private
	KnownHosts string // knows the server at Addr
	HostKey    ssh.PublicKey
}

// Key makes a key pair below dir and gives the private one's file.
func Key(t testing.TB, dir, name string) (file string, signer ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, name, private)
}

func write(t testing.TB, dir, name string, private crypto.PrivateKey) (string, ssh.Signer) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "test")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return file, signer
}

// KnownHosts writes a file that knows a server.
func KnownHosts(t testing.TB, addr string, keys ...ssh.PublicKey) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	var lines bytes.Buffer
	for _, k := range keys {
		fmt.Fprintln(&lines, knownhosts.Line([]string{knownhosts.Normalize(addr)}, k))
	}
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// FreePort gives a port of 127.0.0.1 that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	return n
}

// StartSshd starts sshd, with lines added to its configuration. Where there is none the test is skipped.
func StartSshd(t testing.TB, lines ...string) *Sshd {
	t.Helper()
	binary, err := exec.LookPath("sshd")
	if err != nil {
		if binary = "/usr/sbin/sshd"; !exists(binary) {
			t.Skip("there is no sshd: install openssh-server to run this test")
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	account, credential := me, (*syscall.Credential)(nil)
	if me.Uid == "0" { // as root, sshd would want a folder of the system's
		if account, err = user.Lookup("nobody"); err != nil {
			t.Skip("sshd cannot run as root here, and there is no nobody: ", err)
		}
		credential = &syscall.Credential{Uid: number(account.Uid), Gid: number(account.Gid), NoSetGroups: true}
	}
	dir, err := os.MkdirTemp("", "sshd") //nolint:usetesting // the other account must reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	_, host := Key(t, dir, "host")
	_, client := Key(t, dir, "client")
	mine := filepath.Join(t.TempDir(), "id_ed25519")
	data, err := os.ReadFile(filepath.Join(dir, "client"))
	if err != nil {
		t.Fatal(err)
	}
	port := FreePort(t)
	s := &Sshd{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Port: port, User: account.Username, Keyfile: mine, HostKey: host.PublicKey(),
	}
	s.KnownHosts = KnownHosts(t, s.Addr, host.PublicKey())
	config := fmt.Appendf(nil, `Port %d
ListenAddress 127.0.0.1
HostKey %s/host
AuthorizedKeysFile %s/authorized
PidFile none
StrictModes no
UsePAM yes
KbdInteractiveAuthentication no
PasswordAuthentication no
ClientAliveInterval 1
ClientAliveCountMax 2
`, port, dir, dir)
	config = append(config, strings.Join(append(lines, ""), "\n")...)
	for name, content := range map[string][]byte{"config": config, "authorized": ssh.MarshalAuthorizedKey(client.PublicKey()), mine: data} {
		if name != mine {
			name = filepath.Join(dir, name)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if credential != nil {
		for _, name := range []string{"", "host", "authorized", "config"} {
			if err := os.Chown(filepath.Join(dir, name), int(credential.Uid), int(credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.start(t, binary, filepath.Join(dir, "config"), credential)
	return s
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func (s *Sshd) start(t testing.TB, binary, config string, credential *syscall.Credential) {
	t.Helper()
	out := &lockedBuffer{}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-D", "-e", "-f", config) //nolint:gosec // sshd
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start sshd: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its sessions too
		<-ended
		if t.Failed() {
			t.Logf("sshd:\n%s", out)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.Addr)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("sshd has ended:\n%s", out)
		case <-ctx.Done():
			t.Fatalf("sshd does not listen: %v\n%s", err, out)
		case <-tick.C:
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
