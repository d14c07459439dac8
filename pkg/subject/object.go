package subject

import (
	"encoding/base64"
	"strings"
)

// An object store bucket is a stream with two kinds of subjects, in the form that NATS defines (ADR-20): the parts of an
// object, and what is known of it.

// ObjectStream is OBJ_<bucket>, the stream behind an object store bucket.
func ObjectStream(bucket string) string { return "OBJ_" + bucket }

// AllObjects are the subjects of an object store bucket.
func AllObjects(bucket string) []string {
	return []string{"$O." + bucket + ".C.>", "$O." + bucket + ".M.>"}
}

// ObjectParts is $O.<bucket>.C.<id>, the subject of an object's parts. The id is what its description says: Key(name) for
// those that are written here.
func ObjectParts(bucket, id string) string { return "$O." + bucket + ".C." + id }

// ObjectAbout is $O.<bucket>.M.<name in base64url>, the subject of an object's description.
func ObjectAbout(bucket, name string) string {
	return "$O." + bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name))
}

// ParseObject gives the name of the object that a subject made by ObjectAbout, or by ObjectParts with Key(name), is of.
func ParseObject(bucket, subject string) (name string, ok bool) {
	if rest, found := strings.CutPrefix(subject, "$O."+bucket+".M."); found {
		plain, err := base64.URLEncoding.DecodeString(rest)
		return string(plain), err == nil && len(plain) > 0
	}
	rest, found := strings.CutPrefix(subject, "$O."+bucket+".C.")
	if !found {
		return "", false
	}
	name, err := Unescape(rest)
	return name, err == nil
}
