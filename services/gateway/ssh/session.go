package ssh

import (
	"context"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/switchbackhq/switchback/services/gateway/tunnel"
)

const (
	// escapes are what terminals take for colours and titles.
	escapes = `\x1b(?:\[[0-9;?]*[\x20-\x2f]*[\x40-\x7e]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x40-\x5f])`
	// maxLine bounds what is kept of a line without end.
	maxLine = 4096
)

var (
	escape    = regexp.MustCompile(escapes)
	announced = regexp.MustCompile(`https://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?`)
)

// announcedURL finds the public URL in a line of a session. Such a service also prints links to its own pages, with a
// path or under a name that begins with a word for them.
func announcedURL(line string) string {
	line = escape.ReplaceAllString(line, "")
	for _, at := range announced.FindAllStringIndex(line, -1) {
		found, rest := line[at[0]:at[1]], line[at[1]:]
		if strings.HasPrefix(rest, "/") && len(rest) > 1 && !strings.ContainsAny(rest[1:2], " \t\r") {
			continue // with a path: a page
		}
		u, err := url.Parse(found)
		if err != nil || !strings.Contains(u.Hostname(), ".") || page(u.Hostname()) {
			continue
		}
		return found
	}
	return ""
}

// page tells the names of pages about the service.
func page(host string) bool {
	first, _, _ := strings.Cut(host, ".")
	switch first {
	case "admin", "console", "docs", "help", "status", "twitter", "www":
		return true
	default:
		return host == "localhost.run" || host == "serveo.net" || host == "pinggy.io"
	}
}

// openSession opens a shell, in which the server says the URL.
func (c *connection) openSession(ctx context.Context, step time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		c.end(&tunnel.Error{Class: tunnel.Network, Message: "the SSH server does not open a session within " + step.String()})
	})
	defer stop()
	session, err := c.client.NewSession()
	if err != nil {
		return sessionError(err)
	}
	out, w := io.Pipe()
	session.Stdout, session.Stderr = w, w
	_ = session.RequestPty("xterm", 50, 250, ssh.TerminalModes{ssh.ECHO: 0}) // where it is refused, the URL comes without
	if err := session.Shell(); err != nil {
		return sessionError(err)
	}
	c.work.Go(func() {
		_ = session.Wait() // what matters is the connection's end
		_ = w.Close()
	})
	c.work.Go(func() { readAnnouncements(out, c.urls) })
	return nil
}

func sessionError(err error) error {
	return &tunnel.Error{
		Class: tunnel.Config, Err: err, Message: "the SSH server opens no session that could tell the URL: " + err.Error(),
		Hint: "url_from: session is for services such as localhost.run; leave it out for a server of your own",
	}
}

// readAnnouncements reads what the session says until it ends, and hands on each new URL; the last one counts.
func readAnnouncements(r io.Reader, urls chan string) {
	var line []byte
	last := ""
	buffer := make([]byte, 1024)
	take := func() {
		if u := announcedURL(string(line)); u != "" && u != last {
			last = u
			select {
			case <-urls: // nobody has seen the one before
			default:
			}
			urls <- u
		}
		line = line[:0]
	}
	for {
		n, err := r.Read(buffer)
		for _, b := range buffer[:n] {
			if b == '\n' || b == '\r' {
				take()
			} else if len(line) < maxLine {
				line = append(line, b)
			}
		}
		if err != nil {
			take()
			return
		}
	}
}
