package event

import (
	"bytes"
	"encoding/json"
)

// appendCompact appends JSON that lies in src as encoding/json does with a RawMessage: without blanks, and with <, > and &
// escaped, as well as U+2028 and U+2029. It is false, and nothing is appended, where src is not one value of JSON.
//
// Most of it has been written by us, and is compact. It is looked through all the same: a document with one byte that is
// not JSON could not be read by anybody.
func appendCompact(dst, src []byte) ([]byte, bool) {
	b := bytes.NewBuffer(dst)
	if json.Compact(b, src) != nil {
		return dst, false
	}
	added := b.Bytes()[len(dst):]
	if !bytes.ContainsAny(added, "<>&") && !bytes.Contains(added, []byte("\xe2\x80")) {
		return b.Bytes(), true
	}
	added = bytes.Clone(added)
	b.Truncate(len(dst))
	json.HTMLEscape(b, added)
	return b.Bytes(), true
}
