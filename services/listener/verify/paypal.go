package verify

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

const (
	paypalHeader = "PayPal-Transmission-Sig"
	paypalID     = "PayPal-Transmission-Id"
	paypalTime   = "PayPal-Transmission-Time"
	paypalCert   = "PayPal-Cert-Url"
	paypalAlgo   = "PayPal-Auth-Algo"
)

// paypal verifies an RSA signature with a certificate that PayPal publishes, and that a known authority has signed.
type paypal struct {
	webhook   string
	certs     *cache[[]*x509.Certificate]
	roots     *x509.CertPool
	tolerance time.Duration
}

func newPayPal(s *settings) scheme {
	return &paypal{
		webhook: s.required("webhook_id"), certs: newCache(s.fetcher(), certificates),
		roots: s.spec.Roots, tolerance: s.tolerance(defaultTolerance),
	}
}

func (p *paypal) verify(ctx context.Context, r *Request) (Result, error) {
	values := make([]string, 0, 5)
	for _, name := range []string{paypalHeader, paypalID, paypalTime, paypalCert, paypalAlgo} {
		value, err := one(r, name)
		if err != nil {
			return Result{}, err
		}
		values = append(values, value)
	}
	given, ok := base64Std.decode(values[0], 0)
	if !ok {
		return Result{}, malformed("the signature in "+paypalHeader, "base64")
	}
	if !strings.EqualFold(values[4], "SHA256withRSA") {
		return Result{}, malformed("the header "+paypalAlgo, "SHA256withRSA")
	}
	address, ok := plainURL(values[3])
	if !ok || !strings.HasSuffix(address.Host, ".paypal.com") {
		return Result{}, malformed("the header "+paypalCert, "an https address at paypal.com")
	}
	key, err := p.key(ctx, address.String(), r.Now)
	if err != nil {
		return Result{}, err
	}
	crc := strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.Body)), 10)
	sum := sha256.Sum256([]byte(values[1] + "|" + values[2] + "|" + p.webhook + "|" + crc))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], given) != nil {
		return Result{}, refuse(Wrong, "the signature in "+paypalHeader+" does not match",
			"check that verify.webhook_id is this webhook's id, and that nothing changes the body on its way")
	}
	if err := age(r.Now, "the header "+paypalTime, values[2], rfc3339, p.tolerance); err != nil {
		return Result{}, err
	}
	return Result{DeliveryID: field(r.Body, "id")}, nil
}

// key gives the key of the certificate at the address, which must be PayPal's, valid now, and lead to a root.
func (p *paypal) key(ctx context.Context, address string, now time.Time) (*rsa.PublicKey, error) {
	chain, err := p.certs.get(ctx, address, now, false)
	if err != nil {
		return nil, unavailable("PayPal's certificate", err)
	}
	refused := func(cause error) error {
		return because(Wrong, "the certificate of "+paypalCert+" is not one to trust", "only PayPal's own certificates are", cause)
	}
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	if !strings.HasSuffix(strings.ToLower(chain[0].Subject.CommonName), ".paypal.com") {
		return nil, refused(errors.New("it is for another name than paypal.com's"))
	}
	options := x509.VerifyOptions{Roots: p.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := chain[0].Verify(options); err != nil {
		return nil, refused(err)
	}
	key, ok := chain[0].PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, refused(errors.New("its key is not RSA"))
	}
	return key, nil
}
