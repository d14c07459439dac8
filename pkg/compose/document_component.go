package compose

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// Component types.
const (
	HTTPClient = "http-client"
	Logger     = "logger"
	NATS       = "nats"
	Shell      = "shell"
	HTTPServer = "http-server"
)

// Component is an outside service, or a thing done in the runner.
type Component struct {
	Pos     Pos
	ID      string
	Type    string
	Actions map[string]*Action // at least one; DefaultAction where the component has its action's fields itself

	// http-client and http-server
	RateLimit       *Rate
	Proxy           *expr.Template
	TLS             *ClientTLS
	MaxResponseSize int64 // bytes

	Server             *Server // http-server
	MaxConcurrentCount int     // shell; 0: no limit
}

// ClientTLS is the TLS of requests.
type ClientTLS struct {
	CAFile, CertFile, KeyFile, ServerName string
	InsecureSkipVerify                    bool
}

// Server is a child process that an http-server component runs and sends its requests to.
type Server struct {
	Start, Install       []string // program and arguments
	WorkingDir, BasePath string
	Port                 int
	Env                  map[string]*expr.Template
	HealthPath           string // "" or answers 200 when it is ready
}

// Same tells whether two descriptions are of one process. The prefix of its paths is no matter of the process.
func (s *Server) Same(o *Server) bool {
	return slices.Equal(s.Start, o.Start) && slices.Equal(s.Install, o.Install) && s.WorkingDir == o.WorkingDir && s.Port == o.Port &&
		s.HealthPath == o.HealthPath && maps.EqualFunc(s.Env, o.Env, func(a, b *expr.Template) bool { return reflect.DeepEqual(a.Source(), b.Source()) })
}

// DefaultAction is the id of a component's only action.
const DefaultAction = "__action__"

// Action is one thing that a component does. Component-level fields are merged into each.
type Action struct {
	Pos       Pos
	ID        string
	Component string
	Type      string // the component's

	// http-client
	URL            *expr.Template // base_url and path joined, or endpoint
	Method         *expr.Template
	Headers        *expr.Template // a map
	Params         *expr.Template // a map
	Body           *expr.Template
	BodyType       string        // "" (as Content-Type says, else JSON), json, form, multipart or raw
	ResponseType   string        // "" (as Content-Type says), json, text or binary
	RetryOn        []string      // statuses: 429, 5xx
	RequestTimeout time.Duration // one HTTP request; default 30 s
	Timeout        time.Duration // the whole invocation, the wait included; 0: default (24 h with a wait, else 5 min)

	// logger
	Level, Message, Data *expr.Template

	// nats, with Headers and Body
	Subject *expr.Template
	Mode    string // publish or request

	// shell
	Command, Env, Stdin, WorkingDir *expr.Template // Command is a list, or a line for sh

	Output *expr.Template // nil: the response, overlaid with the callback's result
	// OutputNeedsResult: Output mentions ${result}, so it is evaluated when the callback is there.
	OutputNeedsResult bool
	Completion        Completion
	Broken            string // why it cannot be done, where Stored cannot read it
}

// Completion is how an invocation ends.
type Completion struct {
	Kind    CompletionKind
	Implied bool // by a reference to the listener or its gateway, not written down
	// WaitFor is the id, or the list of ids, to wait for, over the action's scope with ${response}. Where it is not
	// written down it is nil, and OwnID, else IdentifyBy, else DefaultCallbackID says what is waited for.
	WaitFor *expr.Template
	// IdentifyBy is the identify_by of the endpoint whose address was sent, to be evaluated with the response in the
	// place of ${body}, ${item} and ${query}.
	IdentifyBy *expr.Template
	// OwnID: wait for the invocation's own id. Set beside a WaitFor that is just that.
	OwnID       bool
	Timeout     time.Duration // of the wait; 0: not given
	AcceptEarly string        // "run" (default), "any" or a duration
	Quorum      int           // callbacks that end the wait; 0: not given, QuorumAll: all
	Heartbeat   time.Duration // how far a progress callback moves the deadline; 0: not at all
	Polling     *Polling      // of kind CompletePolling
}

// QuorumAll is a quorum of every id that is waited for.
const QuorumAll = -1

// Polling asks an outside service until it has ended. The templates of the request see ${response}; Status sees the
// polled response as ${result}.
type Polling struct {
	URL, Method, Headers, Params, Body *expr.Template
	Status                             *expr.Template // nil: the HTTP code is judged
	SuccessWhen, FailWhen              []string       // nil: not given
	Interval                           time.Duration
}

// CompletionKind is when an invocation is done.
type CompletionKind string

// The kinds of completion.
const (
	CompleteNow      CompletionKind = "none"
	CompleteCallback CompletionKind = "callback"
	CompletePolling  CompletionKind = "polling"
)
