// Package report holds what a bench measured, round by round, and shows it as aligned tables and as JSON.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Report is all that one call of the bench measured.
type Report struct {
	Environment Environment `json:"environment"`
	Started     time.Time   `json:"started"`
	Seconds     float64     `json:"seconds"`
	Quick       bool        `json:"quick"` // a smoke run: its numbers say nothing
	Benches     []*Bench    `json:"benches"`
}

// Bench is one of the benches.
type Bench struct {
	Name   string   `json:"name"`
	About  string   `json:"about"`
	Tables []*Table `json:"tables"`
	Aims   []Aim    `json:"aims,omitempty"`
}

// Table compares subjects that were measured in turns under the same load.
type Table struct {
	Title string `json:"title"`
	Rows  []*Row `json:"rows"`
}

// Row is one subject.
type Row struct {
	Subject string    `json:"subject"`
	Ceiling bool      `json:"ceiling,omitempty"` // what the others are measured against
	NATS    string    `json:"nats,omitempty"`    // where NATS is: a ceiling with embedded NATS is none for external NATS
	Metrics []*Metric `json:"metrics"`
}

// Metric is one number of a subject, with its value in each round.
type Metric struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit,omitempty"`
	Rounds []float64 `json:"rounds"`
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
}

// Value is one number of one round.
type Value struct {
	Name, Unit string
	X          float64
}

// Add adds a round's values to the row.
func (r *Row) Add(values []Value) {
	for _, v := range values {
		m := r.Metric(v.Name)
		if m == nil {
			m = &Metric{Name: v.Name, Unit: v.Unit}
			r.Metrics = append(r.Metrics, m)
		}
		m.add(v.X)
	}
}

// Metric gives the metric with the name, or nil.
func (r *Row) Metric(name string) *Metric {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m
		}
	}
	return nil
}

func (m *Metric) add(x float64) {
	m.Rounds = append(m.Rounds, x)
	sorted := slices.Sorted(slices.Values(m.Rounds))
	m.Min, m.Max = sorted[0], sorted[len(sorted)-1]
	half := len(sorted) / 2
	m.Median = sorted[half]
	if len(sorted)%2 == 0 {
		m.Median = (sorted[half-1] + sorted[half]) / 2
	}
}

// Row gives the row of the subject, or nil.
func (t *Table) Row(subject string) *Row {
	for _, r := range t.Rows {
		if r.Subject == subject {
			return r
		}
	}
	return nil
}

// Ratio adds to each row that is no ceiling the metric name: its value of the metric of, round by round, divided by the
// lowest ceiling's in the same round. Noise that lasts longer than a round cancels out.
func (t *Table) Ratio(name, of string) {
	for _, r := range t.Rows {
		m := r.Metric(of)
		if r.Ceiling || m == nil {
			continue
		}
		for i, x := range m.Rounds {
			if low, ok := t.lowest(of, r.NATS, i); ok && low > 0 {
				r.Add([]Value{{Name: name, X: x / low}})
			}
		}
	}
}

func (t *Table) lowest(metric, nats string, round int) (low float64, ok bool) {
	for _, r := range t.Rows {
		m := r.Metric(metric)
		if !r.Ceiling || m == nil || round >= len(m.Rounds) || r.NATS != "" && r.NATS != nats {
			continue
		}
		if x := m.Rounds[round]; !ok || x < low {
			low, ok = x, true
		}
	}
	return low, ok
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
