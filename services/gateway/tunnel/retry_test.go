package tunnel

import (
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		policy   Policy
		err      Error
		attempts int
		least    time.Duration // with the luckiest draw
		most     time.Duration // bound of the unluckiest
	}{
		"first":               {err: Error{Class: Network}, most: s / 2},
		"fourth":              {err: Error{Class: Network}, attempts: 3, most: 4 * s},
		"hundredth":           {err: Error{Class: Network}, attempts: 99, most: 60 * s},
		"unknown class":       {err: Error{}, most: s},
		"conflict":            {err: Error{Class: Conflict}, most: 2 * s},
		"quota":               {err: Error{Class: Quota}, least: 60 * s, most: 120 * s},
		"quota, late":         {err: Error{Class: Quota}, attempts: 50, least: 450 * s, most: 900 * s},
		"auth":                {err: Error{Class: Auth}, least: -1, most: -1},
		"config":              {err: Error{Class: Config}, least: -1, most: -1},
		"host key":            {err: Error{Class: HostKey}, least: -1, most: -1},
		"asked for":           {err: Error{Class: Remote, RetryAfter: 7 * s}, least: 7 * s, most: 7 * s},
		"set first":           {policy: Policy{First: 5 * s}, err: Error{Class: Network}, most: 5 * s},
		"set first, second":   {policy: Policy{First: 5 * s}, err: Error{Class: Network}, attempts: 1, most: 10 * s},
		"set first, conflict": {policy: Policy{First: 5 * s}, err: Error{Class: Conflict}, most: 2 * s},
		"one left":            {policy: Policy{Max: 3}, err: Error{Class: Network}, attempts: 2, most: 2 * s},
		"none left":           {policy: Policy{Max: 3}, err: Error{Class: Network}, attempts: 3, least: -1, most: -1},
	} {
		if got := c.policy.after(&c.err, c.attempts, 0); got != c.least {
			t.Errorf("%s: at least %s, want %s", name, got, c.least)
		}
		if got := c.policy.after(&c.err, c.attempts, 1); got != c.most {
			t.Errorf("%s: at most %s, want %s", name, got, c.most)
		}
	}
}

func TestSleepIsSeenByTheTwoClocks(t *testing.T) {
	now := time.Now()
	if slept(now, now.Add(time.Hour)) {
		t.Error("an hour of both clocks is no sleep")
	}
	// What has no reading of the other clock is compared by the wall alone.
	if slept(now.Round(0), now.Round(0).Add(time.Hour)) {
		t.Error("an hour of the wall's clock alone tells nothing")
	}
}
