package load

import (
	"bytes"
	"fmt"
	"strings"
)

// CallbackID is the id in the n-th callback.
func CallbackID(n int64) string { return fmt.Sprintf("task-%0*d", idDigits, n) }

// callbackBody is the body of an outside service's callback, of exactly size bytes: an id, a status, a result of four
// fields, and between them, where a reader must get past it, what such services send along and nobody asked for.
func callbackBody(size int) (body []byte, digits int, err error) {
	head := `{"task_id":"` + CallbackID(0) + `","status":"completed","metadata":{"notes":"`
	end := `"},"result":{"url":"https://files.example.com/out/image.png","width":1024,"height":1024,"seed":9007199254740993}}`
	padding := size - len(head) - len(end)
	if padding < 0 {
		return nil, 0, fmt.Errorf("a callback's body has at least %d bytes", len(head)+len(end))
	}
	body = []byte(head + strings.Repeat("n", padding) + end)
	return body, bytes.Index(body, []byte(CallbackID(0))) + len("task-"), nil
}

// CallbackResult is what a listener keeps of that body: the payload that JetStream is given.
const CallbackResult = `{"height":1024,"seed":9007199254740993,"url":"https://files.example.com/out/image.png","width":1024}`
