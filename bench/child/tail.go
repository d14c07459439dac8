package child

import (
	"io"
	"sync"
)

// tailBytes is how much of a child's output is kept to be shown when it fails.
const tailBytes = 4 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
	also io.Writer
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if n := len(t.kept) - tailBytes; n > 0 {
		t.kept = append(t.kept[:0], t.kept[n:]...)
	}
	if t.also != nil {
		return t.also.Write(b)
	}
	return len(b), nil
}

// text is what was kept, on lines of its own, or nothing.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) == 0 {
		return ""
	}
	return "; it last wrote:\n" + string(t.kept)
}
