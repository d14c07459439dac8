package verify

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
)

// certificates reads a PEM text: the certificate that signs, and what leads from it to a root.
func certificates(body []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(body); block != nil && len(chain) < 10; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate: %w", err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate at that address")
	}
	return chain, nil
}

// plainURL gives the parts of an https URL that names nothing but a place.
func plainURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "" || u.Opaque != "" || u.Fragment != "" {
		return nil, false
	}
	return u, true
}
