package main

import (
	"flag"
	"io"
	"testing"
)

// workload is a list of templates that are evaluated one after the other over the same variables.
type workload struct {
	Templates []string       `json:"templates"`
	Vars      map[string]any `json:"vars"`
}

// measurement is what one round of a workload costs text/template alone: "cold" compiles, "warm" has compiled before
// and renders.
type measurement struct {
	ColdNanos float64 `json:"coldNanos"`
	WarmNanos float64 `json:"warmNanos"`
}

func measure(path string, output io.Writer) error {
	var workloads []workload
	if err := readJSON(path, &workloads); err != nil {
		return err
	}
	testing.Init()
	if err := flag.Set("test.benchtime", "300ms"); err != nil {
		return err
	}
	measured := make([]measurement, len(workloads))
	for i, load := range workloads {
		render, err := rendering(load)
		if err != nil {
			return err
		}
		measured[i] = measurement{nanosPer(func() { _, _ = rendering(load) }), nanosPer(render)}
	}
	return writeJSON(output, measured)
}

// rendering compiles a workload to what renders it.
func rendering(load workload) (func(), error) {
	var renders []func()
	for _, text := range load.Templates {
		program, err := compile(normalise(text))
		if err != nil {
			return nil, err
		}
		renders = append(renders, func() { _, _ = render(program, load.Vars) })
	}
	return func() {
		for _, render := range renders {
			render()
		}
	}, nil
}

func nanosPer(work func()) float64 {
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			work()
		}
	})
	return float64(result.T.Nanoseconds()) / float64(result.N)
}
