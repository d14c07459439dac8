package show

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/switchbackhq/switchback/pkg/event"
	"github.com/switchbackhq/switchback/pkg/fate"
)

// Received writes all that is known of a request that a listener was sent, or of a replay.
func Received(w io.Writer, r *event.Received, now time.Time) error {
	var b strings.Builder
	field := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, Clean(text))
		}
	}
	field("Request", r.ID)
	field("At", moment(r.At, now))
	field("Endpoint", r.Method+" "+r.Endpoint+" of listener "+r.Listener)
	path := r.Path
	if r.Query != "" {
		path += "?" + r.Query
	}
	field("Called", path)
	if r.Remote.IsValid() {
		field("From", r.Remote.String())
	}
	verdict := r.Verdict
	if r.Status != 0 {
		verdict += ", answered " + strconv.Itoa(r.Status)
	}
	field("Verdict", verdict)
	field("Error", r.Error)
	if r.ReplayOf != 0 {
		field("Replay of", strconv.FormatUint(r.ReplayOf, 10))
	}
	field("Replayed", replays(r))
	items(&b, r)
	if len(r.Header) > 0 {
		b.WriteString("\nHeader\n")
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			for _, v := range r.Header[name] {
				fmt.Fprintf(&b, "  %s: %s\n", Clean(name), Clean(v))
			}
		}
	}
	body(&b, r)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	return nil
}

func replays(r *event.Received) string {
	if len(r.ReplayedBy) == 0 {
		return ""
	}
	texts := make([]string, len(r.ReplayedBy))
	for i, seq := range r.ReplayedBy {
		texts[i] = strconv.FormatUint(seq, 10)
	}
	return "as " + strings.Join(texts, ", ")
}

func items(b *strings.Builder, r *event.Received) {
	if len(r.Items) == 0 {
		return
	}
	b.WriteString("\nItems\n")
	orphans := false
	for i, item := range r.Items {
		fmt.Fprintf(b, "  %d  %s\n", i, Clean(Item(&item)))
		orphans = orphans || item.Fate == string(fate.Orphan)
	}
	if r.More > 0 {
		fmt.Fprintf(b, "  and %d more\n", r.More)
	}
	if orphans && len(r.ReplayedBy) == 0 {
		of := r.Seq
		if r.ReplayOf != 0 {
			of = r.ReplayOf
		}
		choose := ""
		if len(r.Items)+r.More > 1 {
			choose = " --item N"
		}
		fmt.Fprintf(b, "\nTry:   switchback callbacks replay %d%s --id ID   gives an orphan to whoever waits for ID (`switchback waits list`)\n", of, choose)
	}
}

// Item says what became of one item of a request.
func Item(item *event.ReceivedItem) string {
	switch {
	case item.Error != "" && item.ID == "":
		return item.Error
	case item.Error != "":
		return name(item.ID) + ": " + item.Error
	case item.ID == "" && item.Run == "":
		return "duplicate" // a trigger's delivery that had come before
	case item.ID == "":
		return "run " + item.Run
	}
	text := name(item.ID) + " " + string(item.Outcome) + ": " + item.Fate
	switch {
	case item.Run != "":
		text += ", job " + item.Job + " of run " + item.Run
	case item.Fate == string(fate.Orphan):
		text += ", nobody has waited for it"
	}
	return text
}

// name writes an id; with quotes where blanks in it would not be seen.
func name(id string) string {
	if strings.ContainsFunc(id, unicode.IsSpace) {
		return strconv.Quote(id)
	}
	return id
}

// Fates sums up what became of a request's callbacks.
func Fates(r *event.Received) string {
	counts := map[string]int{}
	for _, item := range r.Items {
		if item.Fate != "" {
			counts[item.Fate]++
		}
	}
	var parts []string
	for _, f := range fate.All() {
		switch n := counts[string(f)]; {
		case n == 0:
		case n == len(r.Items):
			parts = append(parts, string(f))
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, f))
		}
	}
	text := strings.Join(parts, ", ")
	if len(r.ReplayedBy) > 0 {
		text = strings.TrimPrefix(text+", replayed "+replays(r), ", ")
	}
	return text
}

// body writes a body that is text; nobody can read another one on a terminal.
func body(b *strings.Builder, r *event.Received) {
	switch {
	case r.BodySize == 0:
		return
	case len(r.Body) == 0:
		fmt.Fprintf(b, "\nBody (%d bytes, not recorded)\n", r.BodySize)
		return
	case r.Cut:
		fmt.Fprintf(b, "\nBody (the first %d of %d bytes)\n", len(r.Body), r.BodySize)
	default:
		fmt.Fprintf(b, "\nBody (%d bytes)\n", r.BodySize)
	}
	if !utf8.Valid(r.Body) {
		b.WriteString("not text: -o json has it\n")
		return
	}
	for line := range strings.Lines(string(r.Body)) {
		b.WriteString(Clean(strings.TrimRight(line, "\r\n")) + "\n")
	}
}
