package charts

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

var dir = filepath.Join("..", "..", "deploy", "helm", "switchback")

// kinds are the types that rendered documents must fit into, with no field that the type does not know. Those of KEDA and the
// Prometheus operator are written down here, as far as the chart uses them: their modules would bring half of Kubernetes.
var kinds = map[string]func() any{
	"apps/v1/Deployment":                      func() any { return &appsv1.Deployment{} },
	"autoscaling/v2/HorizontalPodAutoscaler":  func() any { return &autoscalingv2.HorizontalPodAutoscaler{} },
	"batch/v1/Job":                            func() any { return &batchv1.Job{} },
	"v1/ConfigMap":                            func() any { return &corev1.ConfigMap{} },
	"v1/Secret":                               func() any { return &corev1.Secret{} },
	"v1/Service":                              func() any { return &corev1.Service{} },
	"v1/ServiceAccount":                       func() any { return &corev1.ServiceAccount{} },
	"networking.k8s.io/v1/Ingress":            func() any { return &networkingv1.Ingress{} },
	"networking.k8s.io/v1/NetworkPolicy":      func() any { return &networkingv1.NetworkPolicy{} },
	"policy/v1/PodDisruptionBudget":           func() any { return &policyv1.PodDisruptionBudget{} },
	"keda.sh/v1alpha1/ScaledObject":           func() any { return &scaledObject{} },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any { return &serviceMonitor{} },
}

type meta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
}

type scaledObject struct {
	meta
	Spec struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount *int32 `json:"minReplicaCount"`
		MaxReplicaCount *int32 `json:"maxReplicaCount"`
		PollingInterval *int32 `json:"pollingInterval"`
		CooldownPeriod  *int32 `json:"cooldownPeriod"`
		Triggers        []struct {
			Type     string `json:"type"`
			Metadata struct {
				Endpoint     string `json:"natsServerMonitoringEndpoint"`
				Account      string `json:"account"`
				Stream       string `json:"stream"`
				Consumer     string `json:"consumer"`
				LagThreshold string `json:"lagThreshold"`
			} `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

type serviceMonitor struct {
	meta
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// everything turns all on.
const everything = `
config: "workflow: {}"
image: {pullSecrets: [mine]}
envFrom: [{secretRef: {name: keys}}]
auth: {tlsSecret: tls}
streams: {env: {SWITCHBACK_STREAMS_KEEP_RUNS: 30d}}
listener:
  env: [{name: X, value: "1"}]
  nodeSelector: {a: b}
  tolerations: [{key: k, operator: Exists}]
  service: {annotations: {a: b}}
  allowFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]
  ingress: {enabled: true, host: hooks.example.com, className: nginx, tlsSecret: cert, annotations: {a: b}}
runner: {autoscaling: {enabled: true}}
gateway: {enabled: true}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
`

// least uses a NATS and a Secret that are there.
const least = `
existingConfigMap: mine
auth: {existingSecret: passwords}
nats: {enabled: false, url: "nats://elsewhere:4222"}
listener: {autoscaling: {enabled: false}}
networkPolicy: {enabled: false}
`

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render renders the chart as helm does and gives its documents. Those of NATS's own chart are not among them: it is fetched when
// the chart is installed, and nothing is fetched in tests.
func render(t *testing.T, values string) (map[string]any, error) {
	t.Helper()
	c := load(t)
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	if err := chartutil.ProcessDependencies(c, given); err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(c, given, chartutil.ReleaseOptions{Name: "sb", Namespace: "work", Revision: 3, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	docs := map[string]any{}
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") || filepath.Base(name)[0] == '_' {
			continue
		}
		for doc := range strings.SplitSeq(text, "\n---") {
			var head meta
			if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			if head.Kind == "" {
				continue
			}
			kind := kinds[head.APIVersion+"/"+head.Kind]
			if kind == nil {
				t.Fatalf("%s: nothing checks %s %s", name, head.APIVersion, head.Kind)
			}
			into := kind()
			if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
				t.Errorf("%s: %s %s: %v", name, head.Kind, head.Metadata.Name, err)
			}
			key := head.Kind + "/" + head.Metadata.Name
			if docs[key] != nil {
				t.Errorf("%s is there twice", key)
			}
			docs[key] = into
		}
	}
	return docs, nil
}

func TestLint(t *testing.T) {
	for _, values := range []string{everything, least} {
		given, err := chartutil.ReadValues([]byte(values))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lint.AllWithKubeVersion(dir, given, "work", nil).Messages {
			// NATS's chart is not kept here: `helm dependency build` fetches it.
			if m.Severity > support.InfoSev && !strings.Contains(m.Err.Error(), "chart directory is missing these dependencies: nats") {
				t.Errorf("%s: %v", m.Path, m.Err)
			}
		}
	}
}

func TestRenderEverything(t *testing.T) {
	docs, err := render(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range docs {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"ConfigMap/sb-config", "ConfigMap/switchback-nats-users", "Deployment/sb-gateway", "Deployment/sb-listener", "Deployment/sb-runner",
		"HorizontalPodAutoscaler/sb-listener", "Ingress/sb-listener", "Job/sb-provision-3",
		"NetworkPolicy/sb-gateway", "NetworkPolicy/sb-listener", "NetworkPolicy/sb-nats", "NetworkPolicy/sb-runner",
		"PodDisruptionBudget/sb-gateway", "PodDisruptionBudget/sb-listener", "PodDisruptionBudget/sb-runner", "ScaledObject/sb-runner", "Secret/switchback-nats",
		"Service/sb-gateway-metrics", "Service/sb-listener", "Service/sb-listener-metrics", "Service/sb-runner-metrics", "ServiceAccount/sb", "ServiceMonitor/sb",
	}
	if !slices.Equal(names, want) {
		t.Errorf("rendered\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	for name, doc := range docs {
		switch d := doc.(type) {
		case *appsv1.Deployment:
			pod(t, name, d.Spec.Template)
			if !reflect.DeepEqual(d.Spec.Selector.MatchLabels, subset(d.Spec.Template.Labels, d.Spec.Selector.MatchLabels)) {
				t.Errorf("%s does not select its own pods", name)
			}
			if g := *d.Spec.Template.Spec.TerminationGracePeriodSeconds; g != 5+20+10 {
				t.Errorf("%s is given %d s to end", name, g)
			}
			scaled := name != "Deployment/sb-gateway"
			if (d.Spec.Replicas == nil) != scaled {
				t.Errorf("%s: replicas %v: what an autoscaler sets is not set here", name, d.Spec.Replicas)
			}
		case *batchv1.Job:
			pod(t, name, d.Spec.Template)
		case *policyv1.PodDisruptionBudget:
			if d.Spec.MaxUnavailable == nil || d.Spec.MaxUnavailable.IntValue() != 1 {
				t.Errorf("%s: %+v", name, d.Spec)
			}
		case *scaledObject:
			for i, stream := range []string{"RUNS", "KV_waits"} {
				m := d.Spec.Triggers[i].Metadata
				if d.Spec.Triggers[i].Type != "nats-jetstream" || m.Stream != stream || m.Consumer != "runner" || m.Account != "SWITCHBACK" || m.Endpoint != "sb-nats.work.svc:8222" {
					t.Errorf("%s: trigger %+v", name, d.Spec.Triggers[i])
				}
			}
			if docs["Deployment/"+d.Spec.ScaleTargetRef.Name] == nil {
				t.Errorf("%s scales nothing", name)
			}
		case *corev1.ConfigMap:
			// The very files that are tested with nats-server.
			for key, text := range d.Data {
				if file, ok := strings.CutSuffix(key, ".conf"); ok {
					path := filepath.Join("..", "..", "deploy", "nats", "permissions", key)
					if file == "users" {
						path = filepath.Join("..", "..", "deploy", "nats", key)
					}
					if want, err := os.ReadFile(path); err != nil || text != string(want) {
						t.Errorf("%s: %s is not %s: %v", name, key, path, err)
					}
				}
			}
		case *corev1.Secret:
			for _, user := range []string{"listener", "runner", "gateway", "controller", "admin"} {
				if p := string(d.Data[user]); len(p) < 40 || p[0] != 'p' {
					t.Errorf("%s: the password of %s has %d letters", name, user, len(p))
				}
			}
		}
	}
}

// pod wants what the restricted pod security standard wants, probes, and bounds.
func pod(t *testing.T, name string, p corev1.PodTemplateSpec) {
	t.Helper()
	s := p.Spec
	if s.SecurityContext == nil || s.SecurityContext.RunAsNonRoot == nil || !*s.SecurityContext.RunAsNonRoot || s.SecurityContext.SeccompProfile == nil ||
		s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken || s.ServiceAccountName == "" {
		t.Errorf("%s: the pod's security context %+v", name, s.SecurityContext)
	}
	volumes := map[string]bool{}
	for _, v := range s.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range s.Containers {
		sc := c.SecurityContext
		if sc == nil || *sc.AllowPrivilegeEscalation || !*sc.ReadOnlyRootFilesystem || len(sc.Capabilities.Drop) != 1 || sc.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s: security context %+v", name, sc)
		}
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: resources %+v", name, c.Resources)
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s mounts %s, which is no volume", name, m.Name)
			}
		}
		if len(c.Ports) == 0 {
			continue // the job
		}
		for what, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet.Path != what || probe.HTTPGet.Port.StrVal != "admin" {
				t.Errorf("%s: probe of %s: %+v", name, what, probe)
			}
		}
	}
}

func subset(labels, keys map[string]string) map[string]string {
	out := map[string]string{}
	for k := range keys {
		out[k] = labels[k]
	}
	return out
}

func TestRenderLeast(t *testing.T) {
	docs, err := render(t, least)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Secret/switchback-nats", "ConfigMap/switchback-nats-users", "NetworkPolicy/sb-listener", "HorizontalPodAutoscaler/sb-listener", "ServiceMonitor/sb"} {
		if docs[name] != nil {
			t.Errorf("%s is there", name)
		}
	}
	d, ok := docs["Deployment/sb-listener"].(*appsv1.Deployment)
	if !ok || d.Spec.Replicas == nil || *d.Spec.Replicas != 2 {
		t.Fatalf("the listener: %+v", docs["Deployment/sb-listener"])
	}
	env := map[string]corev1.EnvVar{}
	for _, e := range d.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e
	}
	if env["SWITCHBACK_NATS_URL"].Value != "nats://elsewhere:4222" || env["SWITCHBACK_NATS_PASSWORD"].ValueFrom.SecretKeyRef.Name != "passwords" ||
		env["SWITCHBACK_STREAMS_PROVISION"].Value != "check" {
		t.Errorf("the listener's environment: %+v", env)
	}
}

// The schema refuses what would fail later, or silently.
func TestValuesAreChecked(t *testing.T) {
	for name, values := range map[string]string{
		"an unknown key":         "listner: {}",
		"an unknown key below":   "listener: {autoscaling: {min: 3}}",
		"two replicas":           "config: x\nstreams: {replicas: 2}",
		"no NATS":                "config: x\nnats: {enabled: false}",
		"an ingress for no host": "config: x\nlistener: {ingress: {enabled: true}}",
		"no compose file":        "image: {tag: a}",
		"no stream's variable":   "config: x\nstreams: {env: {KEEP: 1d}}",
	} {
		if _, err := render(t, values); err == nil {
			t.Errorf("%s is taken", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}
