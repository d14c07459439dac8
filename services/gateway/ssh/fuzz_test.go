package ssh

import (
	"net/url"
	"strings"
	"testing"
)

func TestAnnouncedURL(t *testing.T) {
	for line, want := range map[string]string{
		"abc123.lhr.life tunneled with tls termination, https://abc123.lhr.life": "https://abc123.lhr.life",
		"Forwarding HTTP traffic from \x1b[32mhttps://x.serveo.net\x1b[0m":       "https://x.serveo.net",
		"https://x.example:8443":                             "https://x.example:8443",
		"create an account: https://admin.localhost.run/":    "",
		"read https://localhost.run/docs/forever-free":       "",
		"follow us https://twitter.com/localhost_run":        "",
		"http://plain.example":                               "",
		"https://nodot":                                      "",
		"docs https://www.x.example and https://y.x.example": "https://y.x.example",
		"": "",
	} {
		if got := announcedURL(line); got != want {
			t.Errorf("%q gives %q, want %q", line, got, want)
		}
	}
}

func FuzzAnnouncements(f *testing.F) {
	f.Add("hello\r\nhttps://a.example\n\x1b]0;t\x07https://b.example")
	f.Add(strings.Repeat("x", 10000) + "\nhttps://a.example")
	f.Fuzz(func(t *testing.T, said string) {
		urls := make(chan string, 1)
		readAnnouncements(strings.NewReader(said), urls)
		select {
		case found := <-urls:
			u, err := url.Parse(found)
			if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" || !strings.Contains(said, "\x1b") && !strings.Contains(said, u.Hostname()) {
				t.Errorf("%q gives %q", said, found)
			}
		default:
		}
	})
}
