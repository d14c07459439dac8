package telemetry

import "net/http"

// Handler lets tests ask without a network.
func (a *Admin) Handler() http.Handler { return a.handler() }
