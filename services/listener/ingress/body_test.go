package ingress_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/molecule-man/go-brrr"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/services/listener/ingress"
)

func TestBody(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType, body string
		template                any
		want                    string
	}{
		{"json keeps digits", jsonType, `{"id":12345678901234567890,"x":1.10}`, "${body}", `{"id":12345678901234567890,"x":1.10}`},
		{"json path", jsonType, ` {"a":{"b":[{"c":1},{"c":2}]}} `, "${body.a.b[1].c}", `2`},
		{"json last element", jsonType, `{"a":[1,2,3]}`, "${body.a[-1]}", `3`},
		{"json projection", jsonType, `{"a":[{"c":1.50},{"c":2}]}`, "${body.a[*].c}", `[1.50,2]`},
		{"json list", jsonType, `[{"c":1}]`, "${body[0].c}", `1`},
		{"json missing", jsonType, `{}`, "${body.a.b}", `null`},
		{"json default", jsonType, `{"a":null}`, "${body.a | \"x\"}", `"x"`},
		{"json in text", jsonType, `{"id":9007199254740993}`, "id ${body.id}", `"id 9007199254740993"`},
		{"json suffix", "application/cloudevents+json; charset=UTF-8", `{"id":"1"}`, "${body.id}", `"1"`},
		{"json charset", "application/json; charset=iso-8859-1", "{\"a\":\"\xe9\"}", "${body.a}", `"é"`},
		{"json charset euc-kr", "application/json; charset=euc-kr", "{\"a\":\"\xc7\xd1\"}", "${body.a}", `"한"`},
		{"json byte order mark", jsonType, "\xef\xbb\xbf{\"a\":1}", "${body.a}", `1`},
		{"json empty", jsonType, ``, "${body}", `null`},
		{"json blank", jsonType, " \r\n", "${body}", `null`},
		{"json duplicate key", jsonType, `{"a":1,"a":2}`, "${body.a}", `2`},
		{"json scalar", jsonType, `7`, "${body}", `7`},
		{
			"map", jsonType, `{"a":1.0,"b":"x\u00e9"}`,
			map[string]any{"one": "${body.a}", "two": "${body.b}", "three": int64(3), "four": "a ${body.a}", "five": []any{"${body.c}", true, "text"}},
			`{"five":[null,true,"text"],"four":"a 1.0","one":1.0,"three":3,"two":"x\u00e9"}`,
		},
		{"spread", jsonType, `{"a":{"x":1},"l":[1,2]}`, map[string]any{"...": "${body.a}", "l": []any{"...${body.l}", int64(3)}}, `{"l":[1,2,3],"x":1}`},
		{"escaped", jsonType, `{}`, "$${body}", `"${body}"`},
		{"form", form, `a=1&b=x+y%21&c`, "${body}", `{"a":"1","b":"x y!","c":""}`},
		{"form last", form, `a=1&a=2`, "${body.a}", `"2"`},
		{"form all", form, `a=1&b=0&a=2`, "${body.a[*]}", `["1","2"]`},
		{"form all of one", form, `a=1`, "${body.a[*]}", `["1"]`},
		{"form first", form, `a=1&a=2`, "${body.a[0]}", `"1"`},
		{"form whole with several", form, `a=1&a=2&a=3&b=4`, "${body}", `{"a":["1","2","3"],"b":"4"}`},
		{"form missing", form, `a=1`, "${body.x}", `null`},
		{"form brackets", form, `a[b]=1`, `${body["a[b]"]}`, `"1"`},
		{"form empty", form, ``, "${body}", `null`},
		{"text", "text/plain; charset=utf-8", `{"a":1}`, "${body}", `"{\"a\":1}"`},
		{"text blank", "text/plain", ` `, "${body}", `" "`},
		{"text charset", "text/plain; charset=windows-1252", "\x80", "${body}", `"€"`},
		{"xml", "application/xml", `<a/>`, "${body}", `"<a/>"`},
		{"binary", "application/octet-stream", "\xff\x00", "${body}", `"/wA="`},
		{"unknown charset", "text/plain; charset=klingon", "\xff", "${body}", `"/w=="`},
		{"path into text", "text/plain", "x", "${body.a}", `null`},
		{"no type json", "", `{"a":1}`, "${body.a}", `1`},
		{"no type text", "", `{not json`, "${body}", `"{not json"`},
		{"odd type", "//", `x`, "${body}", `"x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := resultOf(t, tt.template, request(tt.contentType, tt.body)); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name, contentType, body, hint string
	}{
		{"json", jsonType, `{"a":`, ""},
		{"json trailing", jsonType, `{} x`, ""},
		{"json not utf-8", jsonType, "\"\xff\"", ""},
		{"json unknown charset", "application/json; charset=klingon", `{}`, "UTF-8"},
		{"json nested", jsonType, strings.Repeat("[", 100_000), ""},
		{"form", form, `a=%zz`, ""},
		{"json as form", form, `{"a":"100%"}`, "Content-Type: application/json"},
		{"multipart without boundary", "multipart/form-data", `x`, "boundary"},
		{"multipart cut", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nfoo", ""},
		{"multipart foreign", "multipart/form-data; boundary=x", "abc", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(tt.contentType, tt.body)
			err := r.Read()
			if fault.CodeOf(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("%v (hint %q), want invalid with a hint of %q", err, fault.HintOf(err), tt.hint)
			}
			if again := r.Read(); again != err { //nolint:errorlint // the same one
				t.Errorf("second time: %v", again)
			}
		})
	}
}

func TestMultipart(t *testing.T) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	_ = w.WriteField("task_id", "t-1")
	_ = w.WriteField("tag", "a")
	_ = w.WriteField("tag", "b")
	f, _ := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="x.png"`}, "Content-Type": {"image/png"},
	})
	_, _ = f.Write([]byte{0xff, 0})
	_ = w.Close()
	r := request(w.FormDataContentType(), body.String())
	want := `{"all":["a","b"],"file":{"content_type":"image/png","data":"/wA=","name":"x.png","size":2},"id":"t-1","last":"b","name":"x.png"}`
	got := resultOf(t, map[string]any{
		"id": "${body.task_id}", "last": "${body.tag}", "all": "${body.tag[*]}", "file": "${body.file}", "name": "${body.file.name}",
	}, r)
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestTooManyFields(t *testing.T) {
	many := func(part, end string, n int) string { return strings.Repeat(part, n) + end }
	part := "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n"
	for name, r := range map[string]*ingress.Request{
		"form":      request("application/x-www-form-urlencoded", many("a=1&", "", 10_001)),
		"multipart": request("multipart/form-data; boundary=x", many(part, "--x--\r\n", 1001)),
	} {
		if err := r.Read(); fault.CodeOf(err) != fault.TooLarge {
			t.Errorf("%s: %v, want too large", name, err)
		}
	}
}

func pack(t *testing.T, encoding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w interface {
		Write(p []byte) (int, error)
		Close() error
	}
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "flate":
		w, err = flate.NewWriter(&b, 6)
	case "br":
		w, err = brrr.NewWriter(&b, 5)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestContentEncoding(t *testing.T) {
	const text = `{"a":"ok"}`
	tests := []struct{ name, header, body string }{
		{"gzip", "gzip", pack(t, "gzip", text)},
		{"x-gzip", "X-GZIP", pack(t, "gzip", text)},
		{"deflate", "deflate", pack(t, "zlib", text)},
		{"deflate without its header", "deflate", pack(t, "flate", text)},
		{"br", "br", pack(t, "br", text)},
		{"two", "gzip, br", pack(t, "br", pack(t, "gzip", text))},
		{"identity", "identity", text},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(jsonType, tt.body)
			r.Header.(header)["Content-Encoding"] = []string{tt.header}
			if got := resultOf(t, "${body.a}", r); got != `"ok"` {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestContentEncodingRefused(t *testing.T) {
	bomb := strings.Repeat(" ", 8<<20)
	good := pack(t, "gzip", "{}")
	tests := []struct {
		name, header, body string
		want               fault.Code
	}{
		{"gzip bomb", "gzip", pack(t, "gzip", bomb), fault.TooLarge},
		{"deflate bomb", "deflate", pack(t, "zlib", bomb), fault.TooLarge},
		{"br bomb", "br", pack(t, "br", bomb), fault.TooLarge},
		{"packed bomb", "gzip, gzip", pack(t, "gzip", pack(t, "gzip", bomb)), fault.TooLarge},
		{"not gzip", "gzip", "{}", fault.Invalid},
		{"cut gzip", "gzip", good[:len(good)-4], fault.Invalid},
		{"cut br", "br", pack(t, "br", strings.Repeat("abcdefg", 99))[:8], fault.Invalid},
		{"not deflate", "deflate", "\xff\xff\xff", fault.Invalid},
		{"empty gzip", "gzip", "", fault.Invalid},
		{"unknown", "zstd", "{}", fault.Invalid},
		{"too many", "gzip, gzip, gzip, gzip", "{}", fault.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(jsonType, tt.body)
			r.Header.(header)["Content-Encoding"] = []string{tt.header}
			if err := r.Read(); fault.CodeOf(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// FuzzBody holds that no body makes trouble: it is read or refused, and what is read gives JSON.
func FuzzBody(f *testing.F) {
	f.Add(jsonType, "", []byte(`{"id":1,"items":[{"id":2}]}`))
	f.Add("application/x-www-form-urlencoded", "", []byte("a=1&a=2&%zz"))
	f.Add("multipart/form-data; boundary=x", "", []byte("--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nfoo\r\n--x--"))
	f.Add("text/plain; charset=utf-16", "gzip", []byte("\x1f\x8b"))
	f.Add("", "br", []byte(`[1]`))
	e := callback(bulky(f))
	single := callback(full(f))
	f.Fuzz(func(t *testing.T, contentType, encoding string, data []byte) {
		for _, endpoint := range []*ingress.Endpoint{e, single} {
			r := request(contentType, string(data))
			r.Header.(header)["Content-Encoding"] = []string{encoding}
			items, err := endpoint.Callbacks(r, nil)
			if err != nil {
				if c := fault.CodeOf(err); c != fault.Invalid && c != fault.TooLarge && c != fault.Unusable {
					t.Fatalf("%s: %v", c, err)
				}
				continue
			}
			for _, it := range items {
				if it.Err == nil && len(it.Callback.Result) > 0 && !json.Valid(it.Callback.Result) {
					t.Fatalf("result %q", it.Callback.Result)
				}
				if it.Err == nil && (it.Callback.ID == "" || strings.ContainsAny(it.Callback.Error, "\r\n")) {
					t.Fatalf("callback %+v", it.Callback)
				}
			}
		}
	})
}

func TestBase64IsStandard(t *testing.T) {
	got := resultOf(t, "${body}", request("image/png", "\xfb\xff\xfe"))
	if want := `"` + base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xfe")) + `"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
