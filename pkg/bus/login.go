package bus

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/switchbackhq/switchback/pkg/fault"
)

// Login says who we are to NATS, and whom we take for NATS. What is empty is not used.
type Login struct {
	User, Password  string
	CredentialsFile string // of a user with a JWT
	NkeyFile        string // holds the seed of a user's nkey
	CAFile          string // authorities that the server's certificate may come from, in PEM; default: the system's
	CertFile        string // our certificate and its key, in PEM, where the server asks for one
	KeyFile         string
	// InboxPrefix begins the subjects that answers come on, where this user may not take them on any.
	InboxPrefix string
}

// options are what nats.go makes of it. A file that cannot be used is an error here: trying again would not mend it.
func (l Login) options() ([]nats.Option, error) {
	for _, f := range []string{l.CredentialsFile, l.NkeyFile, l.CAFile, l.CertFile, l.KeyFile} {
		if f == "" {
			continue
		}
		if _, err := os.Stat(f); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "cannot read a file for the connection to NATS", "check the settings nats.*")
		}
	}
	var opts []nats.Option
	if l.User != "" {
		opts = append(opts, nats.UserInfo(l.User, l.Password))
	}
	if l.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(l.InboxPrefix))
	}
	if l.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(l.CredentialsFile))
	}
	if l.NkeyFile != "" {
		o, err := nats.NkeyOptionFromSeed(l.NkeyFile)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "there is no seed of an nkey in "+l.NkeyFile, "make one with `nk -gen user`; the server is given its public key")
		}
		opts = append(opts, o)
	}
	if l.CAFile != "" {
		opts = append(opts, nats.RootCAs(l.CAFile))
	}
	if (l.CertFile == "") != (l.KeyFile == "") {
		return nil, fault.New(fault.Invalid, "of our certificate for NATS and its key only one is given", "set nats.cert_file and nats.key_file, or neither")
	}
	if l.CertFile != "" {
		opts = append(opts, nats.ClientCert(l.CertFile, l.KeyFile))
	}
	return opts, nil
}

// Redacted is a list of addresses without the passwords and tokens in it.
func Redacted(urls string) string {
	all := strings.Split(urls, ",")
	for i, one := range all {
		one = strings.TrimSpace(one)
		rest := one
		if _, after, ok := strings.Cut(one, "://"); ok {
			rest = after
		}
		at := strings.LastIndexByte(rest, '@')
		if at < 0 {
			continue
		}
		if u, err := url.Parse(one); err == nil && u.Host != "" {
			if _, given := u.User.Password(); given {
				all[i] = u.Redacted()
				continue
			}
		}
		all[i] = strings.TrimSuffix(one, rest) + "xxxxx@" + rest[at+1:] // a token, or nothing that can be read
	}
	return strings.Join(all, ",")
}

// unreadable tells that an address is not one.
func unreadable(err error) bool {
	_, ok := errors.AsType[*url.Error](err)
	return ok
}

// distrusted tells that the two sides do not accept each other's certificates.
func distrusted(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	// A server that wants another certificate says so, unless it hangs up before we could read it.
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}
