package system_test

import (
	"testing"

	"github.com/switchbackhq/switchback/bench/mock"
	"github.com/switchbackhq/switchback/bench/system"
	"github.com/switchbackhq/switchback/pkg/compose"
)

func TestDocumentsLoad(t *testing.T) {
	for name, text := range map[string]string{
		"ingest":     system.IngestDocument(8090),
		"unrecorded": system.UnrecordedDocument(8090),
		"run":        system.RunDocument(8090, "http://127.0.0.1:9000", mock.Path),
	} {
		d, err := compose.Parse([]byte(text), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(d.Listeners) != 1 || d.Listeners[0].Port != 8090 || d.Listeners[0].Callbacks[0].Path != system.CallbackPath {
			t.Errorf("%s: listeners %+v", name, d.Listeners)
		}
		if name != "run" {
			continue
		}
		if len(d.Needs) > 0 {
			t.Errorf("%s needs %v", name, d.Needs)
		}
		if d.Workflow(system.Workflow) == nil {
			t.Errorf("%s has no workflow %s", name, system.Workflow)
		}
	}
}
