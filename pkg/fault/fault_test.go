package fault_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/switchbackhq/switchback/pkg/fault"
)

func TestEveryCodeHasAnAnswer(t *testing.T) {
	for code, want := range map[fault.Code]struct{ status, exit int }{
		fault.Invalid:      {400, 1},
		fault.Unauthorized: {401, 1},
		fault.Forbidden:    {403, 1},
		fault.NotFound:     {404, 1},
		fault.Method:       {405, 1},
		fault.Conflict:     {409, 1},
		fault.TooLarge:     {413, 1},
		fault.Unusable:     {422, 1},
		fault.TooMany:      {429, 1},
		fault.Cancelled:    {499, 1},
		fault.Internal:     {500, 1},
		fault.Unavailable:  {503, 1},
		fault.Timeout:      {504, 1},
		fault.Usage:        {400, 2},
	} {
		err := fmt.Errorf("do it: %w", fault.New(code, "m", ""))
		if got := fault.CodeOf(err); got != code {
			t.Errorf("CodeOf(%s) = %s", code, got)
		}
		if got := fault.HTTPStatus(err); got != want.status {
			t.Errorf("HTTPStatus(%s) = %d, want %d", code, got, want.status)
		}
		if got := fault.ExitCode(err); got != want.exit {
			t.Errorf("ExitCode(%s) = %d, want %d", code, got, want.exit)
		}
	}
}

func TestErrorsThatAreNoFault(t *testing.T) {
	for name, test := range map[string]struct {
		err          error
		code         fault.Code
		status, exit int
	}{
		"nil":                      {nil, "", http.StatusOK, 0},
		"another's error":          {io.EOF, fault.Internal, http.StatusInternalServerError, 1},
		"a code nobody knows":      {fault.New("odd", "m", ""), "odd", http.StatusInternalServerError, 1},
		"a fault in a fault":       {fault.Wrap(fault.New(fault.Usage, "in", ""), fault.NotFound, "out", ""), fault.NotFound, 404, 1},
		"a fault joined to others": {errors.Join(io.EOF, fault.New(fault.TooLarge, "m", "")), fault.TooLarge, 413, 1},
	} {
		if got := fault.CodeOf(test.err); got != test.code {
			t.Errorf("%s: CodeOf = %q, want %q", name, got, test.code)
		}
		if got := fault.HTTPStatus(test.err); got != test.status {
			t.Errorf("%s: HTTPStatus = %d, want %d", name, got, test.status)
		}
		if got := fault.ExitCode(test.err); got != test.exit {
			t.Errorf("%s: ExitCode = %d, want %d", name, got, test.exit)
		}
	}
}

func TestMessageCauseAndHint(t *testing.T) {
	inner := fault.Wrap(io.ErrUnexpectedEOF, fault.Unavailable, "cannot reach NATS", "start it")
	for name, test := range map[string]struct {
		err           error
		message, hint string
	}{
		"no cause":                 {fault.New(fault.NotFound, "no run r-1", "see runs list"), "no run r-1", "see runs list"},
		"a cause":                  {inner, "cannot reach NATS: unexpected EOF", "start it"},
		"the inner hint":           {fault.Wrap(inner, fault.Internal, "start", ""), "start: cannot reach NATS: unexpected EOF", "start it"},
		"the outer hint":           {fault.Wrap(inner, fault.Internal, "start", "look"), "start: cannot reach NATS: unexpected EOF", "look"},
		"through other errors":     {fmt.Errorf("up: %w", inner), "up: cannot reach NATS: unexpected EOF", "start it"},
		"no hint, another's cause": {fault.Wrap(io.EOF, fault.Invalid, "read", ""), "read: EOF", ""},
		"no fault":                 {io.EOF, "EOF", ""},
	} {
		if got := test.err.Error(); got != test.message {
			t.Errorf("%s: Error = %q, want %q", name, got, test.message)
		}
		if got := fault.HintOf(test.err); got != test.hint {
			t.Errorf("%s: HintOf = %q, want %q", name, got, test.hint)
		}
	}
	if !errors.Is(fmt.Errorf("up: %w", inner), io.ErrUnexpectedEOF) {
		t.Error("errors.Is does not see the cause")
	}
	if fault.HintOf(nil) != "" {
		t.Error("nil has a hint")
	}
}
