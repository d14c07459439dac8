package verify

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzHeaders: whatever stands in the headers, nothing is accepted that the key's holder has not signed.
func FuzzHeaders(f *testing.F) {
	all := senders(f)
	verifiers := make([]*Verifier, len(all))
	for i, s := range all {
		verifiers[i] = compiled(f, s.other)
	}
	f.Add("sha256=00", unix(now), "id", `{"webhookTimestamp":1}`, "/x?key=1")
	f.Add("t=1,v1=00", "1", "", `{"Signature":"a","Type":"Notification"}`, "/?bodySHA256=1")
	f.Add("v1,AAAA v1a,AAAA", "-1", "a.b", "timestamp=1&token=2&signature=3", "")
	f.Add("Bearer a.b.c", now.Format("2006-01-02T15:04:05Z"), "x", `{"signature":{"timestamp":1,"signature":"a"}}`, "/%zz")
	f.Add("Basic bTo=", "9999999999999999999", "x", "\x00", "?")
	f.Fuzz(func(t *testing.T, signature, stamp, id, body, target string) {
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		for _, s := range all {
			if s.carrier != "" {
				h.Set(s.carrier, signature)
			}
		}
		for _, name := range []string{
			"X-Slack-Request-Timestamp", "X-Zm-Request-Timestamp", "Linear-Timestamp", "X-HubSpot-Request-Timestamp", "webhook-timestamp", "svix-timestamp",
			"X-Signature-Timestamp", "X-Fal-Webhook-Timestamp", sendgridTime, paypalTime, "X-Time",
		} {
			h.Set(name, stamp)
		}
		for _, name := range []string{"webhook-id", "svix-id", "X-Id", falID, falUser, paypalID, paypalAlgo, paypalCert, hubspotVersion} {
			h.Set(name, id)
		}
		r := &Request{Method: "POST", Bases: []string{base}, Target: target, Header: h, Body: []byte(body), Now: now}
		for i, v := range verifiers {
			if _, err := v.Verify(t.Context(), r); err == nil {
				t.Fatalf("%s accepted it", all[i].name)
			} else if ReasonOf(err) == "" {
				t.Fatalf("%s: no reason: %v", all[i].name, err)
			}
		}
		_ = Forwarded(h)
	})
}

// FuzzSignature: a genuine signature with a part of it replaced is accepted only where it still stands there whole.
func FuzzSignature(f *testing.F) {
	all := senders(f)
	verifiers, genuine := make([]*Verifier, len(all)), make([]*Request, len(all))
	for i, s := range all {
		verifiers[i], genuine[i] = compiled(f, s.spec), s.send(now, s.body)
	}
	f.Add(0, 0, 1, "S")
	f.Add(7, 70, 2, ",v1=00")
	f.Add(20, 5, 0, " v1,AAAA")
	f.Fuzz(func(t *testing.T, which, from, length int, text string) {
		i := uint(which) % uint(len(all))
		s, v, r := all[i], verifiers[i], *genuine[i]
		if s.carrier == "" {
			return
		}
		r.Header = r.Header.(http.Header).Clone()
		right := s.signature(&r)
		from = int(uint(from) % uint(len(right)))
		length = int(uint(length) % uint(len(right)-from+1))
		changed := right[:from] + text + right[from+length:]
		s.setSignature(&r, changed)
		if _, err := v.Verify(t.Context(), &r); err != nil || changed == right {
			return
		}
		core := right[len(right)-43:]
		folded := strings.EqualFold(changed[:min(6, len(changed))], right[:6]) && changed[min(6, len(changed)):] == right[6:] // Bearer, Basic
		if !strings.Contains(changed, core) && !folded {
			t.Fatalf("%s accepted %q for %q", s.name, changed, right)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("{timestamp}.{body}")
	f.Add("{header.}{{}}{")
	f.Fuzz(func(t *testing.T, text string) {
		s := &settings{used: map[string]bool{}}
		parts := template(s, text, "")
		if len(s.problems) > 0 {
			return
		}
		var back strings.Builder
		for _, part := range parts {
			back.WriteString([...]string{part.text, "{body}", "{timestamp}", "{url}", "{method}", "{path}", "{query}", "{header." + part.text + "}"}[part.kind])
		}
		plain := strings.NewReplacer("${", "{", "{request.", "{").Replace(text)
		if back.String() != plain {
			t.Fatalf("%q became %q", text, back.String())
		}
	})
}
