package verify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	hubspotHeader   = "X-HubSpot-Signature"
	hubspotVersion  = "X-HubSpot-Signature-Version"
	hubspotHeaderV3 = "X-HubSpot-Signature-v3"
	hubspotTime     = "X-HubSpot-Request-Timestamp"
)

// hubspot verifies version 3 where it is sent, else the version that the request names. The older two are plain hashes
// of secret and request, without a time.
type hubspot struct {
	keys      [][]byte
	versions  []string // that are accepted
	tolerance time.Duration
	decode    *strings.Replacer
}

func newHubSpot(s *settings) scheme {
	h := &hubspot{keys: s.secrets(), tolerance: s.tolerance(defaultTolerance), versions: []string{"v1", "v2", "v3"}}
	if only := s.oneOf("version", "", h.versions...); only != "" {
		h.versions = []string{only}
		if only != "v3" {
			s.untimed()
		}
	}
	// The escapes that HubSpot decodes before it signs (developers.hubspot.com, "Validate the v3 request signature").
	h.decode = strings.NewReplacer("%3A", ":", "%2F", "/", "%3F", "?", "%40", "@", "%21", "!", "%24", "$",
		"%27", "'", "%28", "(", "%29", ")", "%2A", "*", "%2C", ",", "%3B", ";")
	return h
}

func (h *hubspot) verify(_ context.Context, r *Request) (Result, error) {
	if slices.Contains(h.versions, "v3") && (has(r, hubspotHeaderV3) || len(h.versions) == 1) {
		return Result{}, h.v3(r)
	}
	text, err := one(r, hubspotHeader)
	if err != nil {
		return Result{}, err
	}
	version, err := one(r, hubspotVersion)
	if err != nil {
		return Result{}, err
	}
	if !slices.Contains(h.versions, version) || version == "v3" {
		return Result{}, malformed("the header "+hubspotVersion, strings.Join(h.versions, " or "))
	}
	given, ok := hexLower.decode(text, sha256.Size)
	if !ok {
		return Result{}, malformed("the signature in "+hubspotHeader, "lower-case hex")
	}
	matched := 0
	for _, key := range h.keys {
		if version == "v1" {
			matched |= subtle.ConstantTimeCompare(hashed(key, r.Body), given)
			continue
		}
		for _, address := range h.addresses(r) {
			matched |= subtle.ConstantTimeCompare(hashed(key, []byte(r.Method+address), r.Body), given)
		}
	}
	switch {
	case matched == 1:
		return Result{}, nil
	case version == "v1":
		return Result{}, wrong("the signature in " + hubspotHeader)
	default:
		return Result{}, wrongURL("the signature in "+hubspotHeader, r)
	}
}

func (h *hubspot) v3(r *Request) error {
	text, err := one(r, hubspotHeaderV3)
	if err != nil {
		return err
	}
	stamp, err := one(r, hubspotTime)
	if err != nil {
		return err
	}
	given, ok := base64Std.decode(text, sha256.Size)
	if !ok {
		return malformed("the signature in "+hubspotHeaderV3, "base64 of an HMAC-SHA256")
	}
	matched := 0
	for _, key := range h.keys {
		for _, address := range h.addresses(r) {
			mac := hmac.New(sha256.New, key)
			_, _ = io.WriteString(mac, r.Method+address)
			mac.Write(r.Body)
			_, _ = io.WriteString(mac, stamp)
			matched |= subtle.ConstantTimeCompare(mac.Sum(nil), given)
		}
	}
	if matched != 1 {
		return wrongURL("the signature in "+hubspotHeaderV3, r)
	}
	return age(r.Now, "the header "+hubspotTime, stamp, millis, h.tolerance)
}

// addresses gives each address as received, and as HubSpot decodes it.
func (h *hubspot) addresses(r *Request) []string {
	var all []string
	for _, base := range r.Bases {
		all = append(all, base+r.Target)
		if decoded := h.decode.Replace(base + r.Target); decoded != base+r.Target {
			all = append(all, decoded)
		}
	}
	return all
}

func hashed(parts ...[]byte) []byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}
