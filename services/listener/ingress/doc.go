// Package ingress turns a request into callbacks and run requests: routes, bodies, templates and outcomes.
// It is pure: no NATS, no clock, no network.
package ingress
