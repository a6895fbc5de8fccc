package main

import (
	"log/slog"

	"github.com/avalhq/aval/internal/server"
)

type openapiCommand struct{}

// Run is the command. The document follows from the operations that the server registers, so it needs no connection.
func (openapiCommand) Run(s *screen) error {
	srv, err := server.New(server.Config{Version: version(), Log: slog.New(slog.DiscardHandler)}, server.Services{})
	if err != nil {
		return err
	}
	_, err = s.out.Write(srv.OpenAPI())
	return err
}
