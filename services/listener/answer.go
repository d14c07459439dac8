package listener

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// writeItems answers with each item's fate.
func writeItems(ctx *fasthttp.RequestCtx, status int, fates []fate) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentType(typeJSON)
	ctx.Response.AppendBodyString(`{"items":`)
	appendFates(ctx, fates)
	ctx.Response.AppendBodyString(`}`)
}

func appendFates(ctx *fasthttp.RequestCtx, fates []fate) {
	r := &ctx.Response
	r.AppendBodyString(`[`)
	for i := range fates {
		if i > 0 {
			r.AppendBodyString(`,`)
		}
		f := &fates[i]
		switch {
		case f.err != nil && f.id == "":
			r.AppendBodyString(`{"error":`)
			appendQuoted(r, f.reason())
		case f.err != nil:
			r.AppendBodyString(`{"id":`)
			appendQuoted(r, f.id)
			r.AppendBodyString(`,"error":`)
			appendQuoted(r, f.reason())
		case f.run != "":
			r.AppendBodyString(`{"run_id":"` + f.run + `"`)
		case f.outcome == runRequested:
			r.AppendBodyString(`{"duplicate":true`)
		default:
			r.AppendBodyString(`{"id":`)
			appendQuoted(r, f.id)
			r.AppendBodyString(`,"outcome":"`)
			r.AppendBodyString(string(f.outcome))
			r.AppendBodyString(`","duplicate":`)
			r.AppendBodyString(strconv.FormatBool(f.duplicate))
		}
		r.AppendBodyString(`}`)
	}
	r.AppendBodyString(`]`)
}

// reason is what the sender is told of an item that was not taken.
func (f *fate) reason() string {
	switch {
	case refusable(f.err):
		return f.err.Error()
	case errors.Is(f.err, errUntried):
		return errUntried.Message
	default:
		return "it could not be stored now"
	}
}

// appendQuoted appends a JSON string; the usual ones, of plain characters, cost nothing.
func appendQuoted(r *fasthttp.Response, s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, err := value.Encode(s)
			if err != nil {
				text = []byte(`""`) // cannot be: a string always encodes
			}
			r.AppendBody(text)
			return
		}
	}
	r.AppendBodyString(`"`)
	r.AppendBodyString(s)
	r.AppendBodyString(`"`)
}

// detail is what the sender is told of an error: all of it where the request is to blame, else only our own words.
func detail(err error) string {
	if refusable(err) {
		return err.Error()
	}
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code != fault.Internal {
		return f.Message
	}
	return "the request could not be handled"
}

// writeProblem answers with an error as RFC 9457 has it, with the items' fates where there are any.
func writeProblem(ctx *fasthttp.RequestCtx, id string, err error, fates []fate) verdict {
	return writeProblemStatus(ctx, id, fault.HTTPStatus(err), err, fates)
}

func writeStatus(ctx *fasthttp.RequestCtx, id string, status int, err error) verdict {
	return writeProblemStatus(ctx, id, status, err, nil)
}

func writeProblemStatus(ctx *fasthttp.RequestCtx, id string, status int, err error, fates []fate) verdict {
	r := &ctx.Response
	code := fault.CodeOf(err)
	ctx.SetStatusCode(status)
	r.Header.SetContentType(typeProblem)
	r.ResetBody()
	r.AppendBodyString(`{"type":"about:blank","title":`)
	appendQuoted(r, http.StatusText(status))
	r.AppendBodyString(`,"status":` + strconv.Itoa(status) + `,"detail":`)
	appendQuoted(r, detail(err))
	if hint := fault.HintOf(err); hint != "" {
		r.AppendBodyString(`,"hint":`)
		appendQuoted(r, hint)
	}
	r.AppendBodyString(`,"code":"` + string(code) + `","request_id":`)
	appendQuoted(r, id)
	if len(fates) > 0 {
		r.AppendBodyString(`,"items":`)
		appendFates(ctx, fates)
	}
	r.AppendBodyString(`}`)
	return verdict(code)
}

func tooLarge(maxBody int64) error {
	return fault.New(fault.TooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody), "send less at once, or raise the listener's max_body_size")
}

// writeUnreadable answers what fasthttp could not read as a request.
func writeUnreadable(ctx *fasthttp.RequestCtx, id string, err error) verdict {
	var tooLong *fasthttp.ErrSmallBuffer
	var slow net.Error
	switch {
	case errors.As(err, &tooLong):
		return writeStatus(ctx, id, http.StatusRequestHeaderFieldsTooLarge,
			fault.New(fault.TooLarge, "the header is too large", "the setting listener.max_header_size raises the limit"))
	case errors.As(err, &slow) && slow.Timeout():
		return writeStatus(ctx, id, http.StatusRequestTimeout, fault.New(fault.Timeout, "the request did not arrive in time", "send it faster, or raise the listener's read_timeout"))
	default:
		return writeProblem(ctx, id, fault.New(fault.Invalid, "this is not a well-formed HTTP request", ""), nil)
	}
}

// writeAccepted answers a request of which everything is stored: as respond says, or with the items.
func (s *server) writeAccepted(ctx *fasthttp.RequestCtx, j *job) {
	status := http.StatusOK
	if j.endpoint.Trigger != nil {
		status = http.StatusAccepted
	}
	if j.endpoint.respond == nil {
		writeItems(ctx, status, j.fates)
		return
	}
	if err := writeRespond(ctx, j, status); err != nil {
		// It is stored: nothing else may be said than that.
		s.log.Error("respond cannot be evaluated, the usual answer is given", slog.String("request_id", j.ID), slog.Any("error", err))
		ctx.Response.ResetBody()
		writeItems(ctx, status, j.fates)
	}
}

func writeRespond(ctx *fasthttp.RequestCtx, j *job, status int) error {
	respond := j.endpoint.respond
	if respond.Status != 0 {
		status = respond.Status
	}
	ctx.SetStatusCode(status)
	if respond.Body != nil {
		body, err := respond.Body.Eval(&j.Request)
		if err != nil {
			return err
		}
		if text, ok := body.(string); ok {
			ctx.Response.Header.SetContentType("text/plain; charset=utf-8")
			ctx.Response.SetBodyString(text)
		} else {
			encoded, err := value.Encode(body)
			if err != nil {
				return err
			}
			ctx.Response.Header.SetContentType(typeJSON)
			ctx.Response.SetBody(encoded)
		}
	}
	for name, template := range respond.Headers {
		v, err := template.Eval(&j.Request)
		if err != nil {
			return err
		}
		ctx.Response.Header.Set(name, value.Text(v))
	}
	return nil
}
