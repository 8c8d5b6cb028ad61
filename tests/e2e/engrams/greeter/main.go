// Greeter is an engram in Go without any library: it reads what every engram is given, and reports as every engram does.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"programs/incluster"
)

type object = map[string]any

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	started, err := time.Parse(time.RFC3339Nano, os.Getenv("BUBU_STARTED_AT"))
	if err != nil {
		return err
	}
	cluster, err := incluster.Connect()
	if err != nil {
		return err
	}
	output, failure := greet()
	now := time.Now().UTC()
	status := object{
		"finishedAt": now.Format(time.RFC3339),
		"duration":   now.Sub(started).String(),
	}
	if failure != nil {
		status["phase"], status["exitCode"], status["exitClass"] = "Failed", 1, "terminal"
		status["lastFailureMsg"] = failure.Error()
		status["error"] = object{
			"version": "v1", "type": "execution_error", "message": failure.Error(),
			"retryable": false, "exitCode": 1, "exitClass": "terminal",
		}
	} else {
		status["phase"], status["exitClass"], status["output"] = "Succeeded", "success", output
	}
	if err := report(cluster, status); err != nil {
		return err
	}
	return failure
}

// greet is the work: a greeting of whom the inputs name, and what was found where a container finds it.
func greet() (object, error) {
	var inputs struct{ Name string }
	if err := json.Unmarshal([]byte(os.Getenv("BUBU_TRIGGER_DATA")), &inputs); err != nil {
		return nil, err
	}
	if inputs.Name == "" {
		return nil, errors.New("inputs.name is missing")
	}
	directory, found := strings.CutPrefix(os.Getenv("BUBU_SECRET_api"), "file:")
	if !found {
		return nil, errors.New("BUBU_SECRET_api does not name a directory")
	}
	token, err := os.ReadFile(filepath.Join(directory, "token"))
	if err != nil {
		return nil, err
	}
	namespace, err := os.ReadFile(filepath.Join(incluster.ServiceAccount, "namespace"))
	if err != nil {
		return nil, err
	}
	return object{
		"greeting":      "hello " + inputs.Name,
		"secretLength":  len(token),
		"secretAt":      directory,
		"namespace":     string(namespace),
		"step":          os.Getenv("BUBU_STEP_NAME"),
		"account":       os.Getenv("BUBU_SERVICE_ACCOUNT_NAME"),
		"executionMode": os.Getenv("BUBU_EXECUTION_MODE"),
	}, nil
}

// report merges status into that of our StepRun, unless another Pod owns it.
func report(cluster *incluster.Server, status object) error {
	path := fmt.Sprintf("/apis/runs.bubustack.io/v1alpha1/namespaces/%s/stepruns/%s",
		os.Getenv("BUBU_STEPRUN_NAMESPACE"), os.Getenv("BUBU_STEPRUN_NAME"))
	var current struct {
		Status struct{ Phase, PodName string }
	}
	if err := cluster.Call(http.MethodGet, path, nil, &current); err != nil {
		return err
	}
	if owner := current.Status.PodName; owner != "" && owner != os.Getenv("BUBU_POD_NAME") {
		return fmt.Errorf("owned by Pod %s", owner)
	}
	return cluster.Call(http.MethodPatch, path+"/status", object{"status": status}, nil)
}
