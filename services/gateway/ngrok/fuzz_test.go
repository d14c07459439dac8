package ngrok

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What an edge says may hold anything: the token never comes through, and what does is one line.
func FuzzClassify(f *testing.F) {
	const token = "2secretTOKEN_value"
	for _, s := range []string{
		"The authtoken you specified is not valid.\nYour authtoken: " + token + "\n\nERR_NGROK_105", "ERR_NGROK_334", "x509: unknown authority",
		"authtoken: other", "\x1b[31mred\xff", strings.Repeat("é", 500),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := classify(text, token)
		if strings.Contains(e.Message, token) || strings.ContainsAny(e.Message, "\n\r\x1b") || !utf8.ValidString(e.Message) || e.Class == "" {
			t.Errorf("%q became %q (%s)", text, e.Message, e.Class)
		}
	})
}
