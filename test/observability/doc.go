// Package observability holds dashboards and alert rules against what the services export: with Prometheus's own parser and
// engine, over the metrics of real services.
//
// It is a module of its own so that nothing else depends on Prometheus.
package observability
