// Package charts holds what checks the Helm chart: a module of its own, because Helm brings much along.
package charts
