package ssh_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/switchbackhq/switchback/services/gateway/ssh"
	"github.com/switchbackhq/switchback/services/gateway/sshtest"
	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

func byPassword(t *testing.T, s *sshtest.Server) ssh.Settings {
	t.Helper()
	return ssh.Settings{
		Host: "127.0.0.1", Port: s.Port, Username: "u", Password: "open sesame", KnownHosts: sshtest.KnownHosts(t, s.Addr, s.HostKey), StepTime: 5 * time.Second,
	}
}

// Services such as localhost.run say the URL in a session, in colours and among advertisements.
func TestTheServerAnnouncesTheURL(t *testing.T) {
	server := sshtest.StartServer(t, func(s *sshtest.Server) {
		s.Announce = "Welcome! https://admin.localhost.run/ \x1b[1m\r\nabc.lhr.life tunneled with tls termination, \x1b[32mhttps://abc.lhr.life\x1b[0m\r\n"
	})
	s := byPassword(t, server)
	s.FromSession = true
	o := run(t, ssh.New(s), 8090).open()
	if o.URL != "https://abc.lhr.life" || o.Address != "abc.lhr.life:443" {
		t.Errorf("%+v", o)
	}
	if want := []string{":80"}; !slices.Equal(server.Binds(), want) {
		t.Errorf("asked for %q, want %q", server.Binds(), want)
	}
}

func TestThePublicURLIsAnother(t *testing.T) {
	s := byPassword(t, sshtest.StartServer(t, nil))
	s.PublicURL = "https://hooks.example.com/"
	if o := run(t, ssh.New(s), 0).open(); o.URL != "https://hooks.example.com" || o.Address != "127.0.0.1:40000" {
		t.Errorf("%+v", o)
	}
}

func TestAWrongPassword(t *testing.T) {
	s := byPassword(t, sshtest.StartServer(t, nil))
	s.Password = "shut sesame"
	e := tunnel.Classify(run(t, ssh.New(s), 0).end())
	if e.Class != tunnel.Auth || strings.Contains(e.Message+e.Hint, "sesame") {
		t.Errorf("%s: %s (%s)", e.Class, e, e.Hint)
	}
}

func TestAForwardThatIsNotAnswered(t *testing.T) {
	s := byPassword(t, sshtest.StartServer(t, func(s *sshtest.Server) { s.Mute = true }))
	s.StepTime = 200 * time.Millisecond
	e := tunnel.Classify(run(t, ssh.New(s), 0).end())
	if e.Class != tunnel.Network || !strings.Contains(e.Message, "does not answer the request to forward") {
		t.Errorf("%s: %s", e.Class, e)
	}
}

func TestTheAgentsKeys(t *testing.T) {
	server := sshtest.StartSshd(t)
	data, err := os.ReadFile(server.Keyfile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := xssh.ParseRawPrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(keys, c) // until the driver has signed in
			_ = c.Close()
		}
	}()
	defer func() {
		_ = l.Close()
		<-done
	}()
	s := settings(server)
	s.Keyfile, s.Agent = "", socket
	r := run(t, ssh.New(s), 0)
	r.open()
	r.stop()
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestKeysWithPassphrases(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := xssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	for passphrase, want := range map[string]string{"": "needs a passphrase", "wrong": "has another passphrase", "right": ""} {
		err := ssh.CheckKey(file, passphrase)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("passphrase %q: %v, want %q", passphrase, err, want)
		}
	}
	if err := os.WriteFile(file, []byte("ssh-ed25519 AAAA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ssh.CheckKey(file, ""); err == nil || !strings.Contains(err.Error(), "is no private key") {
		t.Errorf("%v", err)
	}
}
