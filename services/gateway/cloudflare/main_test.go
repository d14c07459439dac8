package cloudflare_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/services/gateway/cloudflaretest"
)

func TestMain(m *testing.M) {
	if code, stoodIn := cloudflaretest.Run(); stoodIn {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}
