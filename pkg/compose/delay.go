package compose

import (
	"strings"
	"time"
)

func delayFields(sc scopes) []field[draft] {
	delay := func(j *draft) *Delay {
		if j.Delay == nil {
			j.Delay = &Delay{}
		}
		return j.Delay
	}
	return []field[draft]{
		special("duration", "delay: how long.", durationSchema(),
			func(d *decoder, n *node, j *draft) {
				t := d.template(n, sc.input)
				if t == nil {
					return
				}
				if _, ok := t.Literal(); ok && !d.stored { // else the run is told when it comes there
					if _, ok := d.duration(n, "duration"); !ok {
						return
					}
				}
				delay(j).Duration = t
			}),
		special("time", "delay: until when: 2030-01-31T08:00:00Z, 2030-01-31 08:00, or 08:00 for the next time it is that late.", schema{"type": "string"},
			func(d *decoder, n *node, j *draft) {
				t := d.template(n, sc.input)
				if t == nil {
					return
				}
				if v, ok := t.Literal(); ok && !d.stored {
					s, _ := v.(string)
					if _, _, err := ParseMoment(s); err != nil {
						d.wrongf(n, "write 2030-01-31T08:00:00Z, 2030-01-31 08:00, or 08:00", "time must be a moment, and is %s", n.word())
						return
					}
				}
				delay(j).Time = t
			}),
		special("timezone", "delay: the time zone of time, such as Asia/Seoul; UTC.", textSchema(),
			func(d *decoder, n *node, j *draft) {
				s, ok := d.words(n)
				if !ok {
					return
				}
				zone, err := time.LoadLocation(s)
				if err != nil {
					d.wrongf(n, "write a name such as Asia/Seoul or UTC", "the time zone %q is not known", s)
					return
				}
				delay(j).Timezone = zone
			}),
	}
}

// ParseMoment reads the time of a delay. clock: it is a time of day, with no date. A moment without a zone is in UTC,
// for the caller to move.
func ParseMoment(s string) (t time.Time, clock bool, err error) {
	s = strings.TrimSpace(s)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err = time.Parse(layout, s); err == nil {
			return t, false, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err = time.Parse(layout, s); err == nil {
			return t, true, nil
		}
	}
	return t, false, err
}
