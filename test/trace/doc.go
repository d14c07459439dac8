// Package trace follows one trace through all services: from an HTTP callback over NATS and a run to the next request.
package trace
