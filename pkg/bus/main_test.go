package bus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus/bustest"
)

func TestMain(m *testing.M) {
	bustest.Main()
	goleak.VerifyTestMain(m)
}
