package verify

import (
	"crypto/sha1" //nolint:gosec // some providers sign with nothing better
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// genericMAC makes the verifier of any provider that signs with an HMAC.
func genericMAC(s *settings) scheme {
	m := &macScheme{keys: s.secrets(), stampUnit: anyUnit}
	m.header = s.required("header")
	m.prefix = s.text("prefix", "")
	switch s.oneOf("algorithm", "sha256", "sha1", "sha256", "sha384", "sha512") {
	case "sha1":
		m.hash, m.size = sha1.New, sha1.Size
	case "sha384":
		m.hash, m.size = sha512.New384, sha512.Size384
	case "sha512":
		m.hash, m.size = sha512.New, sha512.Size
	default:
		m.hash, m.size = sha256.New, sha256.Size
	}
	m.code = encoding(s.oneOf("encoding", string(hexLower), string(hexLower), string(hexUpper), string(base64Std), string(base64URL)))
	m.keys = decodeKeys(s, m.keys, s.oneOf("secret_encoding", "text", "text", "hex", "base64"))
	m.stampHeader = s.text("timestamp_header", "")
	m.signed = template(s, s.text("signed", "{body}"), m.stampHeader)
	if before := s.text("timestamp_prefix", ""); before != "" {
		m.list = &list{separators: ",; ", stampPrefix: before}
		if m.stampHeader != "" || m.prefix == "" {
			s.problem("verify.timestamp_prefix is for a header that holds both, and needs verify.prefix and no verify.timestamp_header")
		}
	}
	stamped := false
	for _, part := range m.signed {
		stamped = stamped || part.kind == stampPart
	}
	switch timed := m.stampHeader != "" || m.list != nil; {
	case timed && !stamped:
		s.problem("verify.signed does not hold the time: a time that is not signed proves nothing")
	case stamped && !timed:
		s.problem("verify.signed holds {timestamp}, but neither verify.timestamp_header nor verify.timestamp_prefix says where it is")
	case timed:
		m.tolerance = s.tolerance(defaultTolerance)
	default:
		s.untimed()
	}
	return m
}

func decodeKeys(s *settings, keys [][]byte, code string) [][]byte {
	decoded := make([][]byte, 0, len(keys))
	for i, key := range keys {
		var err error
		switch code {
		case "hex":
			key, err = hex.DecodeString(string(key))
		case "base64":
			key, err = base64.StdEncoding.DecodeString(string(key))
		}
		if err != nil || len(key) == 0 {
			s.problem("verify.secret %d is not %s", i+1, code)
		}
		decoded = append(decoded, key)
	}
	return decoded
}

// template compiles a signed text such as "{timestamp}.{body}". A place may be written ${…} as well, as elsewhere in the
// compose file; here it always stands for the bytes as received. A header's own name for the time is the time.
func template(s *settings, text, stampHeader string) []segment {
	var parts []segment
	covered := false
	for text != "" {
		before, rest, ok := strings.Cut(text, "{")
		if ok {
			before = strings.TrimSuffix(before, "$")
		}
		if before != "" {
			parts = append(parts, segment{text: before})
		}
		if !ok {
			break
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			s.problem("verify.signed has a { that is not closed")
			break
		}
		text = after
		part := segment{}
		switch header, isHeader := strings.CutPrefix(name, "header."); {
		case isHeader && header != "" && strings.EqualFold(header, stampHeader):
			part.kind = stampPart
		case isHeader && header != "":
			part = segment{kind: headerPart, text: header}
		case name == "body":
			part.kind, covered = bodyPart, true
		case name == "timestamp":
			part.kind = stampPart
		case name == "url":
			part.kind = urlPart
		case name == "method", name == "request.method":
			part.kind = methodPart
		case name == "path", name == "request.path":
			part.kind = pathPart
		case name == "query":
			part.kind = queryPart
		default:
			s.problem("verify.signed has {%s}; it knows {body}, {timestamp}, {url}, {method}, {path}, {query} and {header.NAME}", name)
		}
		parts = append(parts, part)
	}
	if !covered {
		s.problem("verify.signed does not hold {body}: anyone could change it")
	}
	return parts
}
