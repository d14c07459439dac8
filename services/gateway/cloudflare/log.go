package cloudflare

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

// Bounds of a child's log.
const (
	maxLine   = 8 << 10
	keepLines = 8
	maxShown  = 300
	// A child that says so many lines in a second has lost itself in a loop.
	maxRate = 5000
	// Times that Cloudflare refuses the account before the child is ended: it goes on trying by itself.
	maxRefused = 2
)

var metricsLine = regexp.MustCompile(`Starting metrics server on (\S{1,64})/metrics`)

// read reads the log until it ends. Nothing of it can stop the reading: the child would block.
func (l *childLog) read(r io.Reader) {
	in := bufio.NewReaderSize(r, maxLine)
	count, second := 0, time.Now()
	for {
		line, err := in.ReadSlice('\n')
		l.line(string(line))
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if count++; time.Since(second) > time.Second {
			count, second = 0, time.Now()
		} else if count > maxRate {
			l.giveUp(&tunnel.Error{Class: tunnel.Remote, Message: "cloudflared is caught in a loop: " + l.lastError(), RetryAfter: time.Minute})
			count = 0
		}
		if err != nil {
			return
		}
	}
}

func (l *childLog) giveUp(err error) {
	select {
	case l.hopeless <- err:
	default: // it is known
	}
}

// line takes one line: JSON, or plain text where the child fails early.
func (l *childLog) line(line string) {
	level, message := parseLine(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := metricsLine.FindStringSubmatch(message); m != nil && l.metrics == "" && loopback(m[1]) {
		l.metrics = m[1]
		return
	}
	if message == "" || level != "error" && level != "fatal" && level != "" {
		return
	}
	if l.errors = append(l.errors, message); len(l.errors) > keepLines {
		l.errors = l.errors[1:]
	}
	if refusal(message) {
		if l.refused++; l.refused >= maxRefused {
			l.giveUp(authError(message))
		}
	}
}

// parseLine gives the level and the message, with its error, as one short line.
func parseLine(line string) (level, message string) {
	var entry struct {
		Level   string `json:"level"`
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil {
		return "", short(line)
	}
	message = entry.Message
	if entry.Error != "" && !strings.Contains(message, entry.Error) {
		message += ": " + entry.Error
	}
	return entry.Level, short(message)
}

func short(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}

// loopback tells whether an address is one of this machine alone, with a port.
func loopback(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().IsLoopback() && a.Port() != 0
}

func refusal(message string) bool {
	return strings.Contains(message, "Unauthorized") || strings.Contains(message, "Invalid tunnel secret")
}

func authError(message string) *tunnel.Error {
	return &tunnel.Error{
		Class: tunnel.Auth, Message: "Cloudflare refuses the tunnel's account: " + message,
		Hint: "copy the token again from the tunnel's page at https://one.dash.cloudflare.com, or make credentials anew: cloudflared tunnel create",
	}
}

// exitBadToken is what cloudflared ends with when its token cannot be read.
const exitBadToken = 255

// explainExit tells why a child has ended by what it said last.
func explainExit(code int, lines []string) *tunnel.Error {
	all := strings.Join(lines, " | ")
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(all, w) {
				return true
			}
		}
		return false
	}
	last := "cloudflared has ended"
	if len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	switch {
	case has("429", "1015"):
		return &tunnel.Error{
			Class: tunnel.Quota, Message: "Cloudflare gives no more quick tunnels for now (429): too many were opened",
			Hint: "it is tried again in minutes; a named tunnel has no such limit",
		}
	case code == exitBadToken || has("token is not valid"):
		return &tunnel.Error{
			Class: tunnel.Auth, Message: "the token of the Cloudflare tunnel cannot be read: " + last,
			Hint: "copy it again, whole, from the tunnel's page at https://one.dash.cloudflare.com",
		}
	case has("Tunnel not found", "Unauthorized", "Invalid tunnel secret", "credentials file"):
		return authError(last)
	case has("flag provided but not defined"):
		return &tunnel.Error{Class: tunnel.Config, Message: "this cloudflared is too old: " + last, Hint: "update it"}
	case has("no such host", "connection refused", "server misbehaving", "i/o timeout", "network is unreachable", "lookup "):
		// Each start of a quick tunnel counts against its quota, also one that fails after it.
		return &tunnel.Error{Class: tunnel.Network, Message: "cloudflared cannot reach Cloudflare: " + last, RetryAfter: networkPause, Hint: "check the network and DNS"}
	default:
		return &tunnel.Error{Class: tunnel.Remote, Message: "cloudflared has ended: " + last, RetryAfter: networkPause}
	}
}

const networkPause = 10 * time.Second

// parseQuick reads the answer of /quicktunnel.
func parseQuick(body []byte) string {
	var v struct {
		Hostname string `json:"hostname"`
	}
	if json.Unmarshal(body, &v) != nil || !hostname(v.Hostname) {
		return ""
	}
	return v.Hostname
}

// parseIngress reads the first host name of /config: what Cloudflare has configured for a token's tunnel.
func parseIngress(body []byte) string {
	var v struct {
		Config struct {
			Ingress []struct {
				Hostname string `json:"hostname"`
			} `json:"ingress"`
		} `json:"config"`
	}
	if json.Unmarshal(body, &v) != nil {
		return ""
	}
	for _, rule := range v.Config.Ingress {
		if hostname(rule.Hostname) {
			return rule.Hostname
		}
	}
	return ""
}

var hostnameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.)+[A-Za-z0-9-]{1,62}[A-Za-z0-9]$`)

func hostname(s string) bool {
	return len(s) <= 253 && hostnameForm.MatchString(s) && net.ParseIP(s) == nil
}
