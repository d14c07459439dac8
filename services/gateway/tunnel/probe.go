package tunnel

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// probePath begins the paths that a proxy answers itself.
const probePath = "/.well-known/switchback-gateway/"

// maxNonce bounds what strangers can make a proxy compute.
const maxNonce = 64

// probeTime bounds one probe.
const probeTime = 10 * time.Second

// Secret is what a process proves itself by: only who has it can answer a probe.
type Secret []byte

// NewSecret makes a secret.
func NewSecret() Secret {
	s := make(Secret, sha256.Size)
	_, _ = rand.Read(s) // never fails
	return s
}

// answer is what the holder of the secret answers to a nonce.
func (s Secret) answer(nonce string) string {
	m := hmac.New(sha256.New, s)
	_, _ = m.Write([]byte(nonce)) // never fails
	return hex.EncodeToString(m.Sum(nil))
}

// Prober asks public URLs whether they lead to the holder of a secret.
type Prober struct {
	secret Secret
	client *http.Client
	hint   string
}

// NewProber makes a Prober. The hint is for a URL that does not answer; a nil transport is made.
func NewProber(s Secret, hint string, transport http.RoundTripper) *Prober {
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: probeTime}
	}
	return &Prober{secret: s, hint: hint, client: &http.Client{
		Timeout: probeTime, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Probe sends a nonce through the public URL and returns nil when its answer is ours.
func (p *Prober) Probe(ctx context.Context, url string) error {
	nonce := rand.Text()
	resp, err := p.get(ctx, strings.TrimSuffix(url, "/")+probePath+nonce)
	if err != nil {
		return &Error{Class: Network, Message: fmt.Sprintf("the public URL %s cannot be reached: %s", url, reason(err)), Hint: p.hint, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return &Error{Class: Network, Message: fmt.Sprintf("the public URL %s breaks off: %s", url, reason(err)), Hint: p.hint, Err: err}
	}
	if resp.StatusCode != http.StatusOK || !hmac.Equal(body, []byte(p.secret.answer(nonce))) {
		return &Error{
			Class: Remote, Message: fmt.Sprintf("the public URL %s answers %s, but not from this gateway", url, resp.Status),
			Hint: p.hint,
		}
	}
	return nil
}

func (p *Prober) get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Ngrok-Skip-Browser-Warning", "1") // else ngrok's free plan answers itself
	req.Header.Set("User-Agent", "switchback-gateway")
	return p.client.Do(req)
}

// Answers is a weaker probe, for tunnels whose traffic does not pass this process: whether the public URL leads to
// something that answers. The statuses of the provider's own refusals are no answer.
func (p *Prober) Answers(ctx context.Context, url string) error {
	resp, err := p.get(ctx, url)
	if err != nil {
		return &Error{Class: Network, Message: fmt.Sprintf("the public URL %s cannot be reached: %s", url, reason(err)), Hint: p.hint, Err: err}
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusBadGateway || resp.StatusCode >= 520 {
		return &Error{Class: Remote, Message: fmt.Sprintf("the public URL %s answers %s", url, resp.Status), Hint: p.hint}
	}
	return nil
}

// reason is the part of an error of net/http that says what happened.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer within " + probeTime.String()
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return "its name is not known (" + e.Err + ")"
	}
	text := err.Error()
	if at := strings.LastIndex(text, `": `); at >= 0 {
		text = text[at+3:]
	}
	return text
}
