package value_test

import (
	"testing"

	"github.com/switchbackhq/switchback/pkg/value"
)

var callback = []byte(`{"task_id":"task-123","status":"completed",` +
	`"result":{"url":"https://cdn.example.com/a.png","width":1024,"height":768,"scores":[0.5,0.25,1]}}`)

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(callback)))
	for b.Loop() {
		if _, err := value.Decode(callback); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	v, err := value.Decode(callback)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(callback)))
	for b.Loop() {
		if _, err := value.Encode(v); err != nil {
			b.Fatal(err)
		}
	}
}
