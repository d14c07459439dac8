package journal

import "sync"

// buffer is where a document is written before it is stored. NATS has its own copy when the save returns, so it is used
// again.
type buffer struct{ data []byte }

// keptBuffer bounds what is kept for the next document.
const keptBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer {
	b, _ := buffers.Get().(*buffer)
	b.data = b.data[:0]
	return b
}

func (b *buffer) giveBack() {
	if cap(b.data) <= keptBuffer {
		buffers.Put(b)
	}
}
