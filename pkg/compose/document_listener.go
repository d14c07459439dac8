package compose

import (
	"time"

	"github.com/switchbackhq/switchback/pkg/expr"
)

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
	Ignore      *expr.Template // nil: nothing
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
	Ignore    *expr.Template // nil: nothing
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
