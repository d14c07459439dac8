package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/switchbackhq/switchback/pkg/fault"
	"github.com/switchbackhq/switchback/pkg/value"
)

// maxInput bounds what is read from a file or from standard input: more than a NATS message would hold.
const maxInput = 64 << 20

// text gives an argument's text: itself, @FILE's or, for -, standard input's.
func text(arg string, in io.Reader) ([]byte, error) {
	read := func(r io.Reader, name string) ([]byte, error) {
		data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
		if err != nil {
			return nil, fault.Wrap(err, fault.Usage, "cannot read "+name, "")
		}
		if len(data) > maxInput {
			return nil, fault.New(fault.Usage, fmt.Sprintf("%s is larger than %d MiB", name, maxInput>>20), "")
		}
		return data, nil
	}
	switch {
	case arg == "-":
		return read(in, "standard input")
	case strings.HasPrefix(arg, "@"):
		f, err := os.Open(arg[1:])
		if err != nil {
			return nil, fault.Wrap(err, fault.Usage, "cannot read the file after @", "")
		}
		data, err := read(f, arg[1:])
		return data, errors.Join(err, f.Close())
	default:
		return []byte(arg), nil
	}
}

// jsonArgument reads an argument that is JSON, as it stands.
func jsonArgument(arg string, in io.Reader) (json.RawMessage, error) {
	data, err := text(arg, in)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, nil
	}
	if _, err := value.Decode(data); err != nil {
		hint := "a text is written with quotes around it, such as '\"yes\"'; @FILE reads a file, - standard input"
		return nil, fault.Wrap(err, fault.Usage, "that is not JSON", hint)
	}
	return data, nil
}

// runInput makes a run's input of --input and the -i's on top of it.
func runInput(whole string, pairs []string, in io.Reader) (json.RawMessage, error) {
	data, err := jsonArgument(whole, in)
	if err != nil {
		return nil, fmt.Errorf("--input: %w", err)
	}
	input := map[string]any{}
	if len(data) > 0 {
		v, err := value.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("--input: %w", err)
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil, fault.New(fault.Usage, "--input is not a JSON object", `a run's input has names: --input '{"name": …}', or -i name=…`)
		}
		input = object
	}
	if len(pairs) == 0 {
		return data, nil
	}
	for _, pair := range pairs {
		if err := set(input, pair); err != nil {
			return nil, err
		}
	}
	encoded, err := value.Encode(input)
	if err != nil {
		return nil, fmt.Errorf("write the input as JSON: %w", err)
	}
	return encoded, nil
}

// set puts one k=v into the input. A dot in the key goes into an object; a value that is JSON is that, else it is text.
func set(input map[string]any, pair string) error {
	key, raw, ok := strings.Cut(pair, "=")
	names := strings.Split(key, ".")
	if !ok || key == "" || strings.Contains("."+key+".", "..") {
		return fault.New(fault.Usage, fmt.Sprintf("-i %s is not name=value", quote(pair)), "for names with odd characters there is --input")
	}
	for _, name := range names[:len(names)-1] {
		next, isObject := input[name].(map[string]any)
		if _, there := input[name]; there && !isObject {
			return fault.New(fault.Usage, fmt.Sprintf("-i %s: %s has a value already that is no object", quote(pair), name), "")
		}
		if next == nil {
			next = map[string]any{}
			input[name] = next
		}
		input = next
	}
	v, err := value.Decode([]byte(raw))
	if err != nil {
		v = raw
	}
	input[names[len(names)-1]] = v
	return nil
}
