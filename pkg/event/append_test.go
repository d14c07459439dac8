package event

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// hand is what is written by hand.
type hand interface {
	AppendJSON(dst []byte) ([]byte, error)
}

var (
	texts = []string{"", "a.b", "\"\\/<>&\x00\x01\b\f\n\r\t\x1f\x7f", "\u2027\u2028\u2029\u202a é \U0001F600", "\xff\xe2\x80 \xed\xa0\x80"}
	raws  = []json.RawMessage{
		nil,
		{},
		json.RawMessage(`null`), json.RawMessage(`{"a":[1,-0.5e+7,true,"x"],"b":{}}`),
		json.RawMessage(" { \"<\" : [ ] ,\t\"\\u003c&>\u2028\":\n[ 1 , { } , null\r] } "), json.RawMessage("\"\xff\xe2\x80\""),
	}
	times = []time.Time{
		{},
		time.Unix(0, 0).UTC(), time.Date(2026, 2, 3, 4, 5, 6, 7000, time.UTC),
		time.Date(2026, 2, 3, 4, 5, 6, 123456789, time.FixedZone("", -5400)),
	}
)

// What is written by hand is what encoding/json writes: with each field of each type alone, and with all of them. A field
// that the hand does not know differs.
func TestAppendJSON(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Run](), reflect.TypeFor[Notice](), reflect.TypeFor[Wait]()} {
		t.Run(typ.Name(), func(t *testing.T) {
			all := variants(t, typ)
			if len(all) < typ.NumField() {
				t.Fatalf("%d variants of %d fields", len(all), typ.NumField())
			}
			for _, v := range all {
				p := reflect.New(typ)
				p.Elem().Set(v)
				same(t, p.Interface())
			}
		})
	}
}

func TestAppendJSONRefuses(t *testing.T) {
	year := time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
	zone := time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 25*3600))
	for name, v := range map[string]hand{
		"year":           &Run{CreatedAt: year},
		"year, omitzero": &Run{EndedAt: year},
		"zone":           &Wait{Since: zone},
		"cut off":        &Run{Input: json.RawMessage(`{"a":`)},
		"two values":     &Notice{Output: json.RawMessage(`1 2`)},
		"blank":          &Notice{Output: json.RawMessage(` `)},
		"empty in list":  &Notice{Wait: &WaitState{Results: []json.RawMessage{nil, {}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if same(t, v) {
				t.Error("it was written")
			}
		})
	}
}

func FuzzAppendJSON(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, texts[seed%5], []byte(raws[seed%6]))
	}
	f.Fuzz(func(t *testing.T, seed uint64, text string, raw []byte) {
		random := rand.New(rand.NewPCG(seed, 0))
		for _, v := range []any{new(Run), new(Notice), new(Wait)} {
			fill(random, reflect.ValueOf(v).Elem(), text, raw)
			same(t, v)
		}
	})
}

func FuzzCompact(f *testing.F) {
	for _, s := range []string{
		`01`, `-`, `-0`, `1.`, `1.5E-3`, `1e`, `+1`, `[1,]`, `[,1]`, `{"a"}`, `{"a":1,}`, `{a:1}`, `tru`, `nullx`, `"\u12g4"`, `"\x"`, "\"\n\"", `"`, `"\`, `]`, ``,
		" [ 1 , 2 ] ", "[[[[",
	} {
		f.Add([]byte(s))
	}
	for _, raw := range raws {
		f.Add([]byte(raw))
	}
	f.Fuzz(sameCompact)
}

func TestCompactDepth(t *testing.T) {
	for _, n := range []int{9999, 10000, 10001} {
		sameCompact(t, []byte(strings.Repeat("[", n)+strings.Repeat("]", n)))
		sameCompact(t, []byte(strings.Repeat(`{"":`, n)+"1"+strings.Repeat("}", n)))
	}
}

func sameCompact(t *testing.T, raw []byte) {
	t.Helper()
	want, err := json.Marshal(append(json.RawMessage{}, raw...))
	got, ok := appendCompact([]byte("before"), raw)
	if ok != (err == nil) {
		t.Fatalf("%.100q: taken is %v, encoding/json says %v", raw, ok, err)
	}
	if string(got) != "before"+string(want) {
		t.Fatalf("%.100q was written as %.100s, want %.100s", raw, got, want)
	}
}

func BenchmarkRunDocument(b *testing.B) {
	at := times[2]
	run := &Run{
		ID: "01k2y3z4a5b6c7d8e9f0g1h2j3", Workflow: "order", Definition: strings.Repeat("d", 64), Status: StatusCompleted,
		Input: json.RawMessage(`{"prompt":"a harbour at night"}`), Output: json.RawMessage(`{"url":"https://cdn.example/x.png","size":12345}`),
		CreatedAt: at, StartedAt: at, EndedAt: at, Request: 12345, EndedBy: "callback:12346", Version: 1,
		Jobs: map[string]*Job{"order": {
			Status: StatusCompleted, Input: json.RawMessage(`{"prompt":"a harbour at night"}`), Output: json.RawMessage(`{"url":"https://cdn.example/x.png","size":12345}`),
			Round: 1, Attempts: []*Attempt{{
				Number: 1, StartedAt: at, EndedAt: at, Trigger: "request:12345", Response: json.RawMessage(`{"task":"t-1","state":"queued"}`),
				Requests: []Request{{Method: "POST", URL: "http://127.0.0.1:8000/orders", Status: 202, At: at, DurationMS: 12}},
				Wait:     &WaitState{ID: "01k2y3z4a5b6c7d8e9f0g1h2j3.order", Since: at, Deadline: at, ResumedBy: &ResumedBy{Seq: 12346, Outcome: Succeeded, At: at}, Used: 12346},
			}},
		}},
	}
	large := *run
	large.Input = json.RawMessage(`{"text":"` + strings.Repeat("a harbour at night, ", 3000) + `"}`)
	for name, run := range map[string]*Run{"small": run, "large": &large} {
		b.Run(name+"/hand", func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				data, err := run.AppendJSON(buf[:0])
				if err != nil {
					b.Fatal(err)
				}
				buf = data
			}
			b.SetBytes(int64(len(buf)))
		})
		b.Run(name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data, err := json.Marshal(run)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(data)))
			}
		})
	}
}

// same holds what is written by hand against encoding/json, and tells whether it was written.
func same(t *testing.T, v any) bool {
	t.Helper()
	want, failure := json.Marshal(v)
	got, err := v.(hand).AppendJSON([]byte("before"))
	if failure != nil {
		if err == nil || err.Error() != failure.Error() {
			t.Fatalf("%v, want %v", err, failure)
		}
		return false
	}
	if err != nil {
		t.Fatalf("%v, and encoding/json writes %s", err, want)
	}
	if !bytes.Equal(got, append([]byte("before"), want...)) {
		t.Fatalf("written by hand:\n%s\nby encoding/json:\n%s", got, want)
	}
	return true
}

// variants are values of a type: for a struct the zero one, those with one field set, in all its variants, and one with all.
func variants(t *testing.T, typ reflect.Type) []reflect.Value {
	t.Helper()
	switch typ {
	case reflect.TypeFor[time.Time]():
		return values(typ, times)
	case reflect.TypeFor[json.RawMessage]():
		return values(typ, raws)
	}
	zero := reflect.Zero(typ)
	switch typ.Kind() {
	case reflect.String:
		return values(typ, texts)
	case reflect.Bool:
		return values(typ, []bool{false, true})
	case reflect.Int, reflect.Int64:
		return values(typ, []int64{0, 7, math.MinInt64, math.MaxInt64})
	case reflect.Uint64:
		return values(typ, []uint64{0, 7, math.MaxUint64})
	case reflect.Pointer:
		all := []reflect.Value{zero}
		for _, v := range variants(t, typ.Elem()) {
			p := reflect.New(typ.Elem())
			p.Elem().Set(v)
			all = append(all, p)
		}
		return all
	case reflect.Slice:
		elements := variants(t, typ.Elem())
		all := []reflect.Value{zero, reflect.MakeSlice(typ, 0, 0)}
		for _, v := range elements {
			if v.Kind() == reflect.Slice && !v.IsNil() && v.Len() == 0 {
				continue // no JSON: one of the refused
			}
			l := reflect.MakeSlice(typ, 2, 2)
			l.Index(0).Set(elements[0])
			l.Index(1).Set(v)
			all = append(all, l)
		}
		return all
	case reflect.Map:
		all := []reflect.Value{zero, reflect.MakeMap(typ)}
		keys := variants(t, typ.Key())
		for _, v := range variants(t, typ.Elem()) {
			m := reflect.MakeMap(typ)
			for _, k := range keys {
				m.SetMapIndex(k, v)
			}
			all = append(all, m)
		}
		return all
	case reflect.Struct:
		all := []reflect.Value{zero}
		full := reflect.New(typ).Elem()
		for i := range typ.NumField() {
			for _, v := range variants(t, typ.Field(i).Type) {
				one := reflect.New(typ).Elem()
				one.Field(i).Set(v)
				all = append(all, one)
				full.Field(i).Set(v)
			}
		}
		return append(all, full)
	default:
		t.Fatalf("there are no values of the type %s here: add them", typ)
		return nil
	}
}

func values[T any](typ reflect.Type, of []T) []reflect.Value {
	all := make([]reflect.Value, len(of))
	for i, v := range of {
		all[i] = reflect.ValueOf(v).Convert(typ)
	}
	return all
}

// fill sets about half of what there is to set.
func fill(random *rand.Rand, v reflect.Value, text string, raw json.RawMessage) {
	if random.IntN(2) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(random.Int64N(1<<33), random.Int64N(1e9)).In(time.FixedZone("", random.IntN(1000)-500))))
		return
	case json.RawMessage:
		if random.IntN(4) > 0 {
			raw = raws[random.IntN(len(raws))]
		}
		v.SetBytes(raw)
		return
	}
	switch v.Kind() {
	case reflect.String:
		from := random.IntN(len(text) + 1)
		v.SetString(text[from:])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(random.Int64() - random.Int64())
	case reflect.Uint64:
		v.SetUint(random.Uint64())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(random, v.Elem(), text, raw)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(4), 4))
		for i := range v.Len() {
			fill(random, v.Index(i), text, raw)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range random.IntN(20) {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(random, key, text, raw)
			fill(random, elem, text, raw)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(random, field, text, raw)
		}
	default:
		panic("there are no values of the type " + v.Type().String() + " here: add them")
	}
}
