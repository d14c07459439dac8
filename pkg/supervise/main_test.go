package supervise_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/switchbackhq/switchback/pkg/supervise"
)

// childVariable makes this test binary the child of a signal test instead.
const childVariable = "SUPERVISE_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childVariable); mode != "" {
		child(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

// child says "ready", waits for a signal, says its cause, and then returns ("polite") or never does ("stubborn").
func child(mode string) {
	ctx, stop := supervise.Signals(context.Background())
	defer stop()
	fmt.Fprintln(os.Stdout, "ready")
	<-ctx.Done()
	fmt.Fprintln(os.Stdout, context.Cause(ctx))
	if mode == "stubborn" {
		select {}
	}
}
