package report

// Aim is a number that the project wants to reach on two cores. It is shown, and decides nothing.
type Aim struct {
	What    string  `json:"what"`
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
	Unit    string  `json:"unit,omitempty"`
	Is      float64 `json:"is"` // the median
	Reached bool    `json:"reached"`
}

// AtLeast adds the aim that a metric's median is no less than x, where the metric was measured.
func (b *Bench) AtLeast(what string, m *Metric, x float64) {
	if m != nil {
		b.Aims = append(b.Aims, Aim{What: what, AtLeast: x, Unit: m.Unit, Is: m.Median, Reached: m.Median >= x})
	}
}

// AtMost adds the aim that a metric's median is no more than x, where the metric was measured.
func (b *Bench) AtMost(what string, m *Metric, x float64) {
	if m != nil {
		b.Aims = append(b.Aims, Aim{What: what, AtMost: x, Unit: m.Unit, Is: m.Median, Reached: m.Median <= x})
	}
}
