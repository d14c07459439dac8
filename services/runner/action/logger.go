package action

import (
	"context"
	"log/slog"
	"strings"

	"github.com/switchbackhq/switchback/pkg/expr"
	"github.com/switchbackhq/switchback/pkg/telemetry"
	"github.com/switchbackhq/switchback/pkg/value"
	"github.com/switchbackhq/switchback/services/runner/engine"
)

// log writes one line. What the component does not say, the job's input does: {level, message, data}.
func (p *Performer) log(ctx context.Context, inv *invocation, scope engine.ActionScope) (any, error) {
	input, isMap := scope.Input.(map[string]any)
	field := func(t *expr.Template, name string) (any, error) {
		if t != nil {
			return t.Eval(scope)
		}
		return input[name], nil
	}
	level, err := field(inv.act.Action.Level, "level")
	if err != nil {
		return nil, expressionError("level", err)
	}
	message, err := field(inv.act.Action.Message, "message")
	if err != nil {
		return nil, expressionError("message", err)
	}
	data, err := field(inv.act.Action.Data, "data")
	if err != nil {
		return nil, expressionError("data", err)
	}
	if message == nil && !isMap {
		message = scope.Input
	}
	attrs := []slog.Attr{slog.String("message", inv.secrets.Mask(value.Text(message))), slog.String("run", scope.Run), slog.String("job", scope.Job)}
	if data != nil {
		attrs = append(attrs, slog.String("data", inv.secrets.Mask(value.Text(data))))
	}
	if p.o.Tracer != nil {
		attrs = append(attrs, telemetry.TraceID(telemetry.Traceparent(ctx)))
	} else {
		attrs = append(attrs, telemetry.TraceID(inv.act.Scope.Run.Trace))
	}
	p.o.Logger.LogAttrs(ctx, logLevel(value.Text(level)), "workflow", attrs...)
	return scope.Input, nil
}

func logLevel(s string) slog.Level {
	switch strings.ToLower(s) {
	case "debug":
		return slog.LevelDebug
	case "warn", "warning":
		return slog.LevelWarn
	case "error", "critical", "fatal":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

func expressionError(what string, err error) error {
	return &engine.Error{Code: engine.CodeExpression, Message: what + ": " + err.Error(), Permanent: true}
}
