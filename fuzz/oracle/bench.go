package main

import (
	"encoding/json"
	"io"
	"os"
	"testing"
)

// measurement is what one question costs Go; "warm" has compiled before and renders only.
type measurement struct {
	Template  string  `json:"template"`
	ColdNanos float64 `json:"coldNanos"`
	WarmNanos float64 `json:"warmNanos"`
}

func measure(path string, output io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var questions []question
	if err := json.Unmarshal(text, &questions); err != nil {
		return err
	}
	measured := make([]measurement, len(questions))
	for i, asked := range questions {
		normal := normalise(asked.Template)
		program, err := compile(normal)
		if err != nil {
			return err
		}
		cold := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				_, _ = compile(normalise(asked.Template))
			}
		})
		warm := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				_, _ = render(program, asked.Vars)
			}
		})
		measured[i] = measurement{asked.Template, nanosPer(cold), nanosPer(warm)}
	}
	return writeJSON(output, measured)
}

func nanosPer(result testing.BenchmarkResult) float64 {
	return float64(result.T.Nanoseconds()) / float64(result.N)
}
