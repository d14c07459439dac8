// Package compose reads switchback.yaml into a typed document, with every error in it at its place.
package compose

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

// Pos is a place in a file. Line and Column count from 1; a value without a place has Line 0.
type Pos struct {
	File   string
	Line   int
	Column int
}

// Document is a compose file, or several merged, checked and with its templates compiled. It is not changed after loading.
type Document struct {
	Listeners  []*Listener
	Gateways   []*Gateway
	Components map[string]*Component
	Workflows  []*Workflow
	Controller *Controller

	// Hash is the content hash of Source: the key in the bucket definitions.
	Hash string
	// Source is the merged document, which Parse reads back to an equal Document. Variables stay unresolved in it.
	Source []byte
	// Needs lists what must be there before the document can be started, and is not: unset variables,
	// missing key files, a fragment without workflows.
	Needs []Problem
}

// Problem is one thing wrong in a file, or missing at the place of running.
type Problem struct {
	Pos     Pos
	Path    string // where in the document: components.api.body.url
	Message string
	Hint    string // "did you mean", or what to do
	Line    string // the text of the line
}

// Workflow gives the workflow with the id, or nil. An empty id, and the default one, give the only workflow where
// there is one only, so that who asks for a run need not know its name.
func (d *Document) Workflow(id string) *Workflow {
	if (id == "" || id == DefaultID("workflow")) && len(d.Workflows) == 1 {
		return d.Workflows[0]
	}
	for _, w := range d.Workflows {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// Listener gives the listener with the id, or nil. An empty id gives the first callback listener.
func (d *Document) Listener(id string) *Listener {
	for _, l := range d.Listeners {
		if l.ID == id || id == "" && l.Type == HTTPCallback {
			return l
		}
	}
	return nil
}

// DefaultID is the id of a thing that is alone of its kind and has none: __listener__, __workflow__, … for the others.
func DefaultID(kind string) string { return "__" + kind + "__" }

// DefaultCallbackID is the id of a callback whose endpoint has no identify_by.
const DefaultCallbackID = "__callback__"

// Listener types.
const (
	HTTPCallback = "http-callback"
	HTTPTrigger  = "http-trigger"
)

// Listener is an HTTP server for callbacks or triggers.
type Listener struct {
	Pos                Pos
	ID                 string
	Type               string // HTTPCallback or HTTPTrigger
	Runtime            string // native or docker
	Host               string
	Port               int
	BasePath           string // "" or begins with / and does not end with it
	PublicURL          string // "" or without a trailing /
	MaxConcurrentCount int    // 0: no limit
	MaxBodySize        int64  // bytes
	ReadTimeout        time.Duration
	TLS                *TLS
	Record             string   // off, headers or full
	TrustedProxies     []string // addresses and networks
	Callbacks          []*Callback
	Triggers           []*Trigger
}

// TLS names the files of a server's certificate.
type TLS struct {
	CertFile, KeyFile, ClientCAFile string
}

// Callback is one endpoint of an http-callback listener. Nil templates were not given.
type Callback struct {
	Pos         Pos
	Path        string // with the listener's base path; segments may be {name}
	Method      string
	IdentifyBy  *expr.Template // nil: DefaultCallbackID
	Status      *expr.Template
	SuccessWhen []string // nil: not given
	FailWhen    []string // nil: not given
	Result      *expr.Template
	Bulk        bool
	Item        *expr.Template
	Progress    *expr.Template
	Error       *expr.Template
	When        *expr.Template
	DedupeBy    *expr.Template
	DedupeFor   time.Duration
	RateLimit   *Rate
	AllowFrom   []string
	Verify      *Verify
	Handshake   *Handshake
	Respond     *Respond
}

// Trigger is one endpoint of an http-trigger listener: a request to it starts runs.
type Trigger struct {
	Pos       Pos
	Path      string
	Method    string
	Workflow  *expr.Template // nil: the only workflow
	Input     *expr.Template // nil: the whole body
	Bulk      bool
	Item      *expr.Template
	When      *expr.Template
	DedupeBy  *expr.Template
	DedupeFor time.Duration
	RateLimit *Rate
	AllowFrom []string
	Verify    *Verify
	Handshake *Handshake
	Respond   *Respond
}

// Rate is an amount per time.
type Rate struct {
	Count int
	Per   time.Duration
}

// Verify says how a request's signature is checked.
type Verify struct {
	Pos       Pos
	Type      string
	Secrets   []*expr.Template // secret, or secrets: the first is the newest
	Tolerance *time.Duration   // nil: the type's default; 0: the age is not checked
	Options   map[string]*expr.Template
}

// Handshake says which provider's handshake an endpoint answers.
type Handshake struct {
	Pos            Pos
	Type           string
	AllowedOrigins []string
}

// Respond is the answer to an accepted request where it is not the default one.
type Respond struct {
	Status  int
	Headers map[string]*expr.Template
	Body    *expr.Template
}

// Gateway is a tunnel that gives local ports a public URL.
type Gateway struct {
	Pos     Pos
	ID      string
	Type    string // http-tunnel or ssh-tunnel
	Driver  string // ngrok, cloudflare or ssh
	Runtime string // native or docker
	Ports   []PortForward
	Target  string // host that the ports are on

	AuthToken, Domain       *expr.Template // ngrok
	ConnectURL, ConnectCA   *expr.Template // ngrok: another edge than the public one
	Token, Tunnel, Hostname *expr.Template // cloudflare
	CredentialsFile         *expr.Template // cloudflare
	PublicURL               *expr.Template // ssh
	URLFrom                 string         // ssh: "" or session
	Connection              *SSHConnection
	OnURL                   string // workflow to run when the URL is new
	Replicas                string // one (default) or all
}

// PortForward is one forwarded port.
type PortForward struct {
	Remote int    // ssh: 0 lets the server pick
	Host   string // "" means the gateway's Target
	Local  int
}

// SSHConnection is an ssh-tunnel's server and account.
type SSHConnection struct {
	Host                             *expr.Template
	Port                             int
	AuthType                         string // keyfile, password or agent
	Username                         *expr.Template
	Keyfile, Passphrase, Password    *expr.Template
	KnownHosts                       *expr.Template
	KeepaliveInterval, RetryInterval time.Duration
	MaxRetryCount                    int // 0: for ever
	InsecureIgnoreHostKey            bool
}

// Controller is the HTTP API.
type Controller struct {
	Pos       Pos
	Type      string
	Host      string
	Port      int
	BasePath  string
	TLS       *TLS
	AuthType  string // "" or bearer
	AuthToken *expr.Template
	WebUIPort int  // 0: the API's port
	PortGiven bool // else a port that is taken is replaced by a free one
}

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
}

// Completion is how an invocation ends.
type Completion struct {
	Kind    CompletionKind
	Implied bool // by a reference to the listener or its gateway, not written down
	// WaitFor is the id, or the list of ids, to wait for, over the action's scope with ${response}. Where it is not
	// written down it is nil, and OwnID, else IdentifyBy, else DefaultCallbackID says what is waited for.
	WaitFor *expr.Template
	// IdentifyBy is the identify_by of the endpoint whose address was sent, to be evaluated with the response in the
	// place of ${body} and ${item}.
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

// Workflow is a set of jobs and their order.
type Workflow struct {
	Pos         Pos
	ID          string
	Title       string
	Description string
	Inputs      []*Input // what a run's input must hold; nil: anything
	Jobs        []*Job   // in list order, then the jobs of on_error; ids are unique
	Output      *expr.Template
	Timeout     time.Duration // 0: none
	Concurrency *Concurrency
	OnFailure   *Hook
	OnSuccess   *Hook
}

// Input is one declared field of a workflow's input.
type Input struct {
	Pos         Pos
	Name        string
	Type        string // any, string, integer, number, boolean, object or array
	Required    bool
	Default     *expr.Template // a literal; nil: none
	Enum        []any          // nil: anything
	Description string
	Minimum     *float64
	Maximum     *float64
	Pattern     string
}

// Concurrency bounds how many runs of a workflow go at once.
type Concurrency struct {
	Limit   int
	Key     *expr.Template // over the input: the limit is for each value; nil: for all
	Timeout time.Duration  // how long a run may be queued; 0: a day
}

// Hook is a workflow that is run when another has ended. Its input is the run document where Input is nil.
type Hook struct {
	Pos      Pos
	Workflow string
	Input    *expr.Template
}

// Job gives the job with the id, or nil.
func (w *Workflow) Job(id string) *Job {
	for _, j := range w.Jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}

// Job types.
const (
	JobComponent = "component"
	JobDelay     = "delay"
	JobIf        = "if"
	JobSwitch    = "switch"
	JobForEach   = "for-each"
	JobFilter    = "filter"
	JobRouter    = "random-router"
	JobWorkflow  = "workflow"
	JobWait      = "wait"
)

// Job is one step of a workflow.
type Job struct {
	Pos       Pos
	ID        string
	Type      string // JobComponent, …
	Component string
	Action    string         // id of the component's action, resolved
	Input     *expr.Template // nil: the workflow's input
	Output    *expr.Template // nil: the component's output
	// Before is the job whose output ${output} means in what is evaluated before this one runs: the one before it in its
	// list. Empty where that is not used.
	Before string
	// Needs is all that must be done before: each group is satisfied when any of its jobs is.
	Needs   [][]string
	When    *expr.Template // nil: always
	Timeout time.Duration
	Retry   Retry
	OnError OnError
	// RoutedOnly: the job runs only when another routes to it.
	RoutedOnly bool
	// MaxRunCount is how often the job may run within one run.
	MaxRunCount int

	// One of these is there, where Type says so.
	Delay    *Delay
	If       *If
	Switch   *Switch
	ForEach  *ForEach
	Filter   *Condition // over ${item} of the list Input
	Routings []Routing
	Workflow string      // of type workflow: the id of the one to run
	Wait     *Completion // of type wait; OwnID where there is no wait_for
}

// Delay is a job that waits for a time.
type Delay struct {
	Duration *expr.Template // a length as in the file, or
	Time     *expr.Template // a moment
	Timezone *time.Location // of a Time without one; UTC
}

// If is a job that routes by conditions, the first that holds.
type If struct {
	Branches  []Branch
	Otherwise string // "" goes nowhere
}

// Branch is one condition of an If.
type Branch struct {
	Condition *Condition
	Then      string // "" goes nowhere
	Else      string // where to go at once when it does not hold; "" tries the next branch
}

// Switch is a job that routes by the value of its Input.
type Switch struct {
	Cases     []Case
	Otherwise string // "" goes nowhere
}

// Case is one value of a Switch.
type Case struct {
	Value *expr.Template
	Then  string
}

// ForEach is a job that runs an action for each item of its Input.
type ForEach struct {
	Component string
	Action    string
	Input     *expr.Template // over ${item} and ${index}; nil: the item
	Output    *expr.Template // nil: the component's output
	BatchSize int            // items at once; 0: all
}

// Routing is one way of a random-router.
type Routing struct {
	To     string
	Weight float64
}

// Condition is a test: one of Expr, Operator with its sides, All, Any and Not.
type Condition struct {
	Pos      Pos
	Expr     *expr.Template // holds when it is true
	Operator string
	Input    *expr.Template // nil: the job's input, or the item
	Value    *expr.Template
	All, Any []*Condition
	Not      *Condition
}

// Operators are the operators of a condition.
func Operators() []string {
	return []string{"eq", "neq", "gt", "gte", "lt", "lte", "in", "not-in", "match", "starts-with", "ends-with"}
}

// Retry is how often and when a failed job is tried again.
type Retry struct {
	MaxAttempts int // the first try included; at least 1
	Delay       time.Duration
	MaxDelay    time.Duration // 0: none
	Backoff     string        // fixed or exponential
}

// OnError is what happens when a job has failed for good. The zero value fails the run.
type OnError struct {
	Ignore bool
	Output *expr.Template
	To     string
	// Jobs run instead; their ids are in the workflow's Jobs, routed only, and the last one's output stands for the failed job's.
	Jobs []string
}
