package main

import (
	"os"
	"slices"
	"strings"

	applicationpkg "github.com/argoproj/argo-cd/v3/pkg/apiclient/application"
	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const prefix = "resource.customizations."

// readCustomizations reads the keys of argocd-cm that carry scripts.
func readCustomizations(path string) (lua.ResourceHealthOverrides, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config corev1.ConfigMap
	if err := yaml.UnmarshalStrict(data, &config); err != nil {
		return nil, err
	}
	overrides := lua.ResourceHealthOverrides{}
	for key, value := range config.Data {
		what, kind, _ := strings.Cut(strings.TrimPrefix(key, prefix), ".")
		kind = strings.Replace(kind, "_", "/", 1)
		override := overrides[kind]
		switch what {
		case "health":
			override.HealthLua = value
		case "actions":
			override.Actions = value
		}
		overrides[kind] = override
	}
	return overrides, nil
}

type outcome struct {
	Offered []appv1.ResourceAction `json:"offered"`
	Result  map[string]any         `json:"result,omitempty"`
	Error   string                 `json:"error,omitempty"`
}

func runAction(
	overrides lua.ResourceHealthOverrides, object *unstructured.Unstructured, name string,
	parameters map[string]string,
) (*outcome, error) {
	machine := lua.VM{ResourceOverrides: overrides}
	scripts, err := machine.GetResourceActionDiscovery(object)
	if err != nil {
		return nil, err
	}
	offered, err := machine.ExecuteResourceActionDiscovery(object, scripts)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(offered, func(a, b appv1.ResourceAction) int { return strings.Compare(a.Name, b.Name) })
	if name == "" {
		return &outcome{Offered: offered}, nil
	}
	action, err := machine.GetResourceAction(object, name)
	if err != nil {
		return nil, err
	}
	var given []*applicationpkg.ResourceActionParameters
	for name, value := range parameters {
		given = append(given, &applicationpkg.ResourceActionParameters{Name: &name, Value: &value})
	}
	impacted, err := machine.ExecuteResourceAction(object, action.ActionLua, given)
	if err != nil {
		return &outcome{Offered: offered, Error: err.Error()}, nil
	}
	return &outcome{Offered: offered, Result: impacted[0].UnstructuredObj.Object}, nil
}
