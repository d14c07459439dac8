package verify

import (
	"net"
	"net/url"
	"strings"
)

// Forwarded gives the base that a proxy says the sender has used, or "" where it says none. Whether the proxy is one to
// trust is for the caller to know. The headers X-Forwarded-* count before Forwarded (RFC 7239); of several proxies the
// outermost, which is the first.
func Forwarded(h Header) string {
	proto, host, port := first(h, "X-Forwarded-Proto"), first(h, "X-Forwarded-Host"), first(h, "X-Forwarded-Port")
	if host == "" {
		proto, host, port = forwardedElement(first(h, "Forwarded"))
	}
	proto = strings.ToLower(proto)
	if proto != "http" && proto != "https" || host == "" {
		return ""
	}
	if u, err := url.Parse(proto + "://" + host); err != nil || u.Host != host || u.Hostname() == "" {
		return ""
	} else if u.Port() == "" && port != "" && port != usualPort(proto) && digits(port) {
		host = net.JoinHostPort(u.Hostname(), port)
	}
	return proto + "://" + host
}

// usualPort is the port that an address without one means.
func usualPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

func first(h Header, name string) string {
	values := h.Values(name)
	if len(values) == 0 {
		return ""
	}
	value, _, _ := strings.Cut(values[0], ",")
	return strings.TrimSpace(value)
}

func forwardedElement(element string) (proto, host, port string) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "proto":
			proto = value
		case "host":
			host = value
		}
	}
	return proto, host, ""
}
