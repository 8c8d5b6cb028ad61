// Records the keys of bobrapet's output cache.
package runs

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	runsv1alpha1 "github.com/bubustack/bobrapet/api/runs/v1alpha1"
	"github.com/bubustack/bobrapet/api/v1alpha1"
	"github.com/bubustack/bobrapet/pkg/refs"
)

func TestRecordCacheKeys(t *testing.T) {
	type row struct {
		Engram  string `json:"engram"`
		Version string `json:"version"`
		Step    string `json:"step"`
		Salt    string `json:"salt"`
		Inputs  any    `json:"inputs"`
		Digest  string `json:"digest"`
		Path    string `json:"path"`
	}
	rows := []*row{}
	for _, text := range []string{`{}`, `{"b":1.5,"a":[null,true,"<é>"]}`, `{"n":1e21,"m":0.000001}`} {
		for _, version := range []string{"", "1.2.0"} {
			for _, salt := range []string{"", " pepper "} {
				var inputs any
				if err := json.Unmarshal([]byte(text), &inputs); err != nil {
					t.Fatal(err)
				}
				rows = append(rows, &row{Engram: "embed", Version: version, Step: "vectors", Salt: salt, Inputs: inputs})
			}
		}
	}
	r := &StepRunReconciler{}
	for _, each := range rows {
		step := &runsv1alpha1.StepRun{}
		step.Namespace = "team"
		step.Spec.StepID = each.Step
		step.Spec.EngramRef = &refs.EngramReference{Version: each.Version}
		engram := &v1alpha1.Engram{}
		engram.Name = each.Engram
		policy := &v1alpha1.CachePolicy{Salt: &each.Salt}
		inputs, _ := json.Marshal(each.Inputs)
		meta, err := r.buildCacheMetadata(context.Background(), step, engram, policy, inputs)
		if err != nil {
			t.Fatal(err)
		}
		each.Digest, each.Path = meta.Key, meta.Path
	}
	out, _ := json.Marshal(rows)
	if err := os.WriteFile(os.Getenv("RECORD_TO"), out, 0o600); err != nil {
		t.Fatal(err)
	}
}
