// Command generate writes the OpenAPI document of the API to the file that is named. It needs no running Aval.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/avalhq/aval/internal/server"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: generate FILE")
	}
	s, err := server.New(server.Config{Log: slog.New(slog.DiscardHandler)}, server.Services{})
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], s.OpenAPI(), 0o644) //nolint:gosec // a public document of the repository
}
