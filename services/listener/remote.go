package listener

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// remote is the client's address: the connection's, or where that is a trusted proxy the one that it forwards for.
// proxied tells the latter.
func (s *server) remote(ctx *fasthttp.RequestCtx) (client netip.Addr, proxied bool) {
	tcp, ok := ctx.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if len(s.proxies) == 0 || !within(s.proxies, addr) {
		return addr, false
	}
	return forwarded(s.proxies, addr, ctx.Request.Header.PeekAll("X-Forwarded-For")), true
}

// forwarded walks X-Forwarded-For from its end: each trusted proxy vouches for the address before it.
func forwarded(proxies []netip.Prefix, addr netip.Addr, headers [][]byte) netip.Addr {
	for _, header := range slices.Backward(headers) {
		for _, hop := range slices.Backward(strings.Split(string(header), ",")) {
			a, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				return addr // what is behind it cannot be trusted either
			}
			addr = a.Unmap().WithZone("")
			if !within(proxies, addr) {
				return addr
			}
		}
	}
	return addr
}
