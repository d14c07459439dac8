package system

import "fmt"

// CallbackPath is where the measured listener takes callbacks.
const CallbackPath = "/webhooks/done"

// Workflow is the measured workflow.
const Workflow = "bench"

// IngestDocument is a compose file with a listener alone.
func IngestDocument(port int) string {
	return fmt.Sprintf(`
listener:
  host: 127.0.0.1
  port: %d
  path: %s
  identify_by: ${body.task_id}
  status: ${body.status}
  success_when: [completed]
  fail_when: [failed]
  result:
    url: ${body.result.url}
    width: ${body.result.width}
    height: ${body.result.height}
    seed: ${body.result.seed}
`, port, CallbackPath)
}

// UnrecordedDocument is that file with a listener that keeps no record of its requests.
func UnrecordedDocument(port int) string {
	return IngestDocument(port) + "  record: off\n"
}

// RunDocument is a compose file with a workflow that asks the outside service at mockURL and waits to be called back.
func RunDocument(port int, mockURL, mockPath string) string {
	return fmt.Sprintf(`
listener:
  host: 127.0.0.1
  port: %d
  path: %s
  identify_by: ${body.id}
  status: ${body.status}
  success_when: [completed]
  fail_when: [failed]
  result:
    url: ${body.result.url}
    width: ${body.result.width}
    height: ${body.result.height}
    sent_at: ${body.result.sent_at}

components:
  outside:
    type: http-client
    base_url: %s
    path: %s
    method: POST
    body:
      id: ${context.run_id}
      callback_url: ${listener.url}
      prompt: ${input.prompt}
      hold: ${input.hold}
    completion:
      type: callback
      wait_for: ${context.run_id}
      timeout: 1d

workflow:
  id: %s
  jobs:
    - id: generate
      component: outside
      input: ${input}
  output: ${jobs.generate.output}
`, port, CallbackPath, mockURL, mockPath, Workflow)
}
