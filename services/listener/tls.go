package listener

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/switchbackhq/switchback/pkg/compose"
	"github.com/switchbackhq/switchback/pkg/fault"
)

// serverTLS makes a configuration that follows its files; nil for no TLS.
func serverTLS(files *compose.TLS, log *slog.Logger) (*tls.Config, error) {
	if files == nil {
		return nil, nil //nolint:nilnil // no TLS
	}
	k := &keeper{files: *files, log: log}
	if _, err := k.current(time.Now()); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return k.current(time.Now())
		},
	}, nil
}

// keeper holds the certificate of a server and reads it again when its files have changed. What cannot be read then
// leaves the former one in use.
type keeper struct {
	files compose.TLS
	log   *slog.Logger

	mu     sync.Mutex
	config *tls.Config
	stamp  string // of the files as they are in use
	looked time.Time
	failed string // what the log was told last
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = 5 * time.Second

func (k *keeper) current(now time.Time) (*tls.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.config != nil && now.Sub(k.looked) < lookEvery {
		return k.config, nil
	}
	k.looked = now
	stamp, err := k.stampNow()
	if err == nil && stamp == k.stamp && k.config != nil {
		return k.config, nil
	}
	if err == nil {
		var config *tls.Config
		if config, err = k.load(); err == nil {
			if k.config != nil {
				k.log.Info("the certificate's files have changed, and are in use")
			}
			k.config, k.stamp, k.failed = config, stamp, ""
		}
	}
	if k.config == nil {
		return nil, fault.Wrap(err, fault.Usage, "the listener's certificate cannot be used", "check the files under tls")
	}
	if err != nil && err.Error() != k.failed {
		// While one file of two is new, this passes by itself.
		k.failed = err.Error()
		k.log.Warn("the certificate's files have changed and cannot be used: the certificate before is served on", slog.Any("error", err))
	}
	return k.config, nil
}

// stampNow tells one state of the files from another.
func (k *keeper) stampNow() (string, error) {
	var stamp strings.Builder
	for _, name := range []string{k.files.CertFile, k.files.KeyFile, k.files.ClientCAFile} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&stamp, "%d %d ", info.ModTime().UnixNano(), info.Size())
	}
	return stamp.String(), nil
}

func (k *keeper) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(k.files.CertFile, k.files.KeyFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if k.files.ClientCAFile != "" {
		pem, err := os.ReadFile(k.files.ClientCAFile)
		if err != nil {
			return nil, err
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New(k.files.ClientCAFile + " holds no certificate")
		}
	}
	return config, nil
}
