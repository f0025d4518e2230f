// A sync engine for tests: Argo CD's own gitops-engine and Lua, driven line by line, and kstatus.
//
//	gitops health CUSTOMIZATIONS <OBJECTS   health of each object, as Argo CD's Lua tells it
//	gitops act CUSTOMIZATIONS ACTION [NAME=VALUE]... <OBJECT
//	gitops kstatus <OBJECTS                 status of each object, as Flux reads it
//	gitops engine -kubeconfig F -customizations F -repository DIR [-server-side]
//
// The engine reads `sync` and `state` from standard input and answers each with a line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	commands := map[string]func([]string) error{
		"health": showHealth, "act": act, "kstatus": showStatus, "engine": runEngine,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fail(fmt.Errorf("name one of health, act, kstatus and engine"))
	}
	fail(commands[os.Args[1]](os.Args[2:]))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func showStatus([]string) error {
	return eachObject(func(object *unstructured.Unstructured) (any, error) {
		found, err := status.Compute(object)
		if err != nil {
			return nil, err
		}
		return verdict{found.Status.String(), found.Message}, nil
	})
}

func showHealth(arguments []string) error {
	overrides, err := readCustomizations(arguments[0])
	if err != nil {
		return err
	}
	return eachObject(func(object *unstructured.Unstructured) (any, error) {
		found, err := overrides.GetResourceHealth(object)
		if err != nil {
			return nil, err
		}
		return verdict{string(found.Status), found.Message}, nil
	})
}

func act(arguments []string) error {
	overrides, err := readCustomizations(arguments[0])
	if err != nil {
		return err
	}
	parameters := map[string]string{}
	for _, argument := range arguments[2:] {
		name, value, _ := strings.Cut(argument, "=")
		parameters[name] = value
	}
	return eachObject(func(object *unstructured.Unstructured) (any, error) {
		return runAction(overrides, object, arguments[1], parameters)
	})
}

// eachObject answers every YAML document of standard input with a line of JSON.
func eachObject(answer func(*unstructured.Unstructured) (any, error)) error {
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	objects, err := kube.SplitYAML(data)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(os.Stdout)
	for _, object := range objects {
		found, err := answer(object)
		if err != nil {
			return err
		}
		if err := encoder.Encode(found); err != nil {
			return err
		}
	}
	return nil
}
