package command

import (
	"bytes"
	"fmt"
	"io"

	"github.com/switchbackhq/switchback/cmd/switchback/show"
)

// jsonList writes a JSON list, an item at a time.
type jsonList struct {
	w     io.Writer
	begun bool
}

func (l *jsonList) add(v any) error {
	var b bytes.Buffer
	if l.begun {
		b.WriteString(",\n")
	} else {
		b.WriteString("[\n")
	}
	l.begun = true
	if err := show.JSON(&b, v); err != nil {
		return err
	}
	return l.write(bytes.TrimRight(b.Bytes(), "\n"))
}

func (l *jsonList) end() error {
	if !l.begun {
		return l.write([]byte("[]\n"))
	}
	return l.write([]byte("\n]\n"))
}

func (l *jsonList) write(data []byte) error {
	if _, err := l.w.Write(data); err != nil {
		return fmt.Errorf("write the list: %w", err)
	}
	return nil
}
