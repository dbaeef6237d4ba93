package k8s

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are all that our manifests have, by apiVersion and kind.
var kinds = map[string]reflect.Type{
	"v1 ConfigMap":                            reflect.TypeFor[corev1.ConfigMap](),
	"v1 Namespace":                            reflect.TypeFor[corev1.Namespace](),
	"v1 Secret":                               reflect.TypeFor[corev1.Secret](),
	"v1 Service":                              reflect.TypeFor[corev1.Service](),
	"v1 ServiceAccount":                       reflect.TypeFor[corev1.ServiceAccount](),
	"apps/v1 Deployment":                      reflect.TypeFor[appsv1.Deployment](),
	"apps/v1 StatefulSet":                     reflect.TypeFor[appsv1.StatefulSet](),
	"autoscaling/v2 HorizontalPodAutoscaler":  reflect.TypeFor[autoscalingv2.HorizontalPodAutoscaler](),
	"networking.k8s.io/v1 Ingress":            reflect.TypeFor[networkingv1.Ingress](),
	"networking.k8s.io/v1 NetworkPolicy":      reflect.TypeFor[networkingv1.NetworkPolicy](),
	"policy/v1 PodDisruptionBudget":           reflect.TypeFor[policyv1.PodDisruptionBudget](),
	"gateway.networking.k8s.io/v1 Gateway":    reflect.TypeFor[gatewayv1.Gateway](),
	"gateway.networking.k8s.io/v1 HTTPRoute":  reflect.TypeFor[gatewayv1.HTTPRoute](),
	"monitoring.coreos.com/v1 PrometheusRule": reflect.TypeFor[monitoringv1.PrometheusRule](),
	"monitoring.coreos.com/v1 ServiceMonitor": reflect.TypeFor[monitoringv1.ServiceMonitor](),
	"keda.sh/v1alpha1 ScaledObject":           reflect.TypeFor[scaledObject](),
}

// decode makes the typed object of a manifest. A field that the type does not have, in exactly this spelling, or one given twice, is an error.
func decode(text []byte) (object, error) {
	var head metav1.TypeMeta
	if err := yaml.Unmarshal(text, &head); err != nil {
		return object{}, err
	}
	kind, ok := kinds[head.APIVersion+" "+head.Kind]
	if !ok {
		return object{}, fmt.Errorf("%s %s is not among the kinds that the tests know", head.APIVersion, head.Kind)
	}
	typed := reflect.New(kind).Interface()
	if err := strictly(text, typed); err != nil {
		return object{}, fmt.Errorf("%s: %w\n%s", head.Kind, err, text)
	}
	return object{typed.(metav1.Object), head.Kind, typed, text}, nil
}

// strictly decodes as the API server does with fieldValidation=Strict. sigs.k8s.io/yaml.UnmarshalStrict would take names without regard to case.
func strictly(text []byte, into any) error {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	strict, err := strictjson.UnmarshalStrict(data, into)
	return errors.Join(append(strict, err)...)
}

func TestEveryOverlayIsDecodedStrictly(t *testing.T) {
	forEach(t, func(t *testing.T, all rendered) {
		if len(all) < 15 {
			t.Errorf("got %d objects, want a whole installation", len(all))
		}
		seen := map[string]bool{}
		for _, o := range all {
			if seen[o.String()] {
				t.Errorf("%s is there twice", o)
			}
			seen[o.String()] = true
			if o.kind != "Namespace" && o.GetNamespace() != "tidings" {
				t.Errorf("%s is in the namespace %q, want tidings", o, o.GetNamespace())
			}
		}
	})
}

// Components that no overlay has are rendered on top of the local one.
func TestEveryComponentIsDecodedStrictly(t *testing.T) {
	for _, name := range components(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := buildWith(t, name); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStrictness(t *testing.T) {
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n"
	for name, test := range map[string]struct{ text, want string }{
		"right":    {deployment + "  replicas: 2\n", ""},
		"unknown":  {deployment + "  replica: 2\n", `unknown field "spec.replica"`},
		"case":     {deployment + "  Replicas: 2\n", `unknown field "spec.Replicas"`},
		"twice":    {deployment + "  replicas: 2\n  replicas: 3\n", "already set in map"},
		"type":     {deployment + "  replicas: two\n", "cannot unmarshal string"},
		"new kind": {"apiVersion: v1\nkind: Pods\n", "not among the kinds"},
		"keda":     {"apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nspec: {minReplicas: 2}\n", `unknown field "spec.minReplicas"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode([]byte(test.text))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
