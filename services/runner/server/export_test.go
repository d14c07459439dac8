package server

import "github.com/switchbackhq/switchback/pkg/compose"

// Why tells why a component's server is not ready.
func (s *Servers) Why(c *compose.Component) error {
	s.mu.Lock()
	r := s.running[c.Server.Port]
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.notReady("it is not ready")
}
