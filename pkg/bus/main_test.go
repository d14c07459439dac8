package bus_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/bus/bustest"
)

func TestMain(m *testing.M) {
	bustest.Main()
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}
