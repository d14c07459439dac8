package ssh

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// trust sets how the server proves itself.
func trust(config *ssh.ClientConfig, s *Settings, addr string) error {
	if s.InsecureIgnoreHostKey {
		config.HostKeyCallback = ssh.InsecureIgnoreHostKey() //nolint:gosec // asked for, and loud in New
		return nil
	}
	files, write := knownHostsFiles(s.KnownHosts)
	check := ssh.HostKeyCallback(func(string, net.Addr, ssh.PublicKey) error { return &knownhosts.KeyError{} })
	if len(files) > 0 {
		known, err := knownhosts.New(files...)
		if err != nil {
			return &tunnel.Error{
				Class: tunnel.Config, Err: err, Message: "the known hosts cannot be read: " + err.Error(),
				Hint: "check connection.known_hosts: " + strings.Join(files, ", "),
			}
		}
		check = known
	}
	config.HostKeyAlgorithms = algorithms(check, addr)
	config.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		return explainKey(check(host, remote, key), addr, key, write)
	}
	return nil
}

// knownHostsFiles gives those that exist, and the one that a new line belongs into.
func knownHostsFiles(asked string) (exist []string, write string) {
	candidates := []string{asked}
	if asked == "" {
		candidates = []string{"/etc/ssh/ssh_known_hosts"}
		if home, err := os.UserHomeDir(); err == nil {
			candidates = []string{filepath.Join(home, ".ssh", "known_hosts"), candidates[0]}
		}
	}
	for _, f := range candidates {
		if _, err := os.Stat(f); err == nil {
			exist = append(exist, f)
		}
	}
	return exist, candidates[0]
}

// algorithms gives those of the keys that are known of the server. Were it asked for any, it might show a key that is
// not among them, and be taken for an impostor.
func algorithms(check ssh.HostKeyCallback, addr string) []string {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil
	}
	dummy, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return nil
	}
	e, ok := errors.AsType[*knownhosts.KeyError](check(addr, &net.TCPAddr{}, dummy))
	if !ok {
		return nil
	}
	var algos []string
	for _, k := range e.Want {
		switch t := k.Key.Type(); t {
		case ssh.KeyAlgoRSA:
			algos = append(algos, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512)
		default:
			algos = append(algos, t)
		}
	}
	slices.Sort(algos)
	return slices.Compact(algos)
}

// explainKey tells an unknown server from one that shows another key than it used to.
func explainKey(err error, addr string, key ssh.PublicKey, file string) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*knownhosts.KeyError](err)
	if !ok {
		return &tunnel.Error{
			Class: tunnel.HostKey, Err: err, Message: "the host key of " + addr + " is refused: " + err.Error(),
			Hint: "see " + file,
		}
	}
	shown := key.Type() + " " + ssh.FingerprintSHA256(key)
	if len(e.Want) == 0 {
		return &tunnel.Error{
			Class: tunnel.HostKey, Err: err, Message: "the SSH server " + addr + " is not known: it shows the key " + shown,
			Hint: fmt.Sprintf("compare that with `ssh-keygen -lf` on the server, and if they agree add this line to %s:\n  %s",
				file, knownhosts.Line([]string{knownhosts.Normalize(addr)}, key)),
		}
	}
	var known []string
	for _, k := range e.Want {
		known = append(known, fmt.Sprintf("%s %s (%s line %d)", k.Key.Type(), ssh.FingerprintSHA256(k.Key), k.Filename, k.Line))
	}
	return &tunnel.Error{
		Class: tunnel.HostKey, Err: err,
		Message: fmt.Sprintf("the SSH server %s shows another key than the known one: it may be somebody else. Shown: %s; known: %s", addr, shown, strings.Join(known, ", ")),
		Hint:    "if the server has a new key, remove the old: ssh-keygen -R '" + knownhosts.Normalize(addr) + "'",
	}
}
