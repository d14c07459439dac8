package subject

import "testing"

func TestObjectSubjects(t *testing.T) {
	for name, want := range map[string][2]string{
		"run.1":   {"$O.documents.C.run.1", "$O.documents.M.cnVuLjE="},
		"a b/ö.x": {"$O.documents.C.a=20b=2F=C3=B6.x", "$O.documents.M.YSBiL8O2Lng="},
	} {
		parts, about := ObjectParts("documents", Key(name)), ObjectAbout("documents", name)
		if parts != want[0] || about != want[1] {
			t.Errorf("%s: %s and %s, want %v", name, parts, about, want)
		}
		for _, s := range want {
			if got, ok := ParseObject("documents", s); !ok || got != name {
				t.Errorf("%s is read as %q, %v", s, got, ok)
			}
		}
	}
	for _, s := range []string{"$O.documents.M.!", "$O.documents.M.", "$O.documents.C.a b", "$O.payloads.C.a", "documents"} {
		if name, ok := ParseObject("documents", s); ok {
			t.Errorf("%s is read as %q", s, name)
		}
	}
}
