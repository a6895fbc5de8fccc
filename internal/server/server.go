// Package server is the HTTP edge: routes, bearer tokens, problem details and server-sent events.
//
// It translates and refuses, and decides nothing else: what a request means is up to the services behind the ports of
// ports.go. Every operation is registered with the role that may call it; a client sees its own objects only, and another
// client's answer exactly as those that do not exist (A7, A21). The register of clients is asked at every request, so that
// a disabled client is out at once (A22). A failure leaves as one problem document, rendered in one place, that repeats
// nothing of the request (I25).
//
// The OpenAPI document is made from the registered operations; api/openapi.json is a copy of it.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/avalhq/aval/internal/clients"
)

// Config is what the server has to know besides its services. The zero value of a field means its default.
type Config struct {
	Unserved         bool          // the API itself is for other processes: only health and metrics are answered
	Version          string        // of the program, shown in the OpenAPI document
	Chains           []Chain       // that messages may be for
	MaxBody          int64         // bytes of a request body; 64 KiB
	MaxIDs           int           // ids that one request may ask for; 1000
	MaxStreams       int           // live streams at once; 4096
	MaxClientStreams int           // of one subject; 32
	Heartbeat        time.Duration // between two signs of life on a silent stream; 15 s
	Timeout          time.Duration // of a request, streams excepted; 30 s
	Log              *slog.Logger  // slog.Default
	// Observe is told of each finished request; route is the pattern, not the path. It may be nil.
	Observe func(method, route string, status int, took time.Duration)
}

// Server serves the API. Make it with New.
type Server struct {
	Services
	config   Config
	log      *slog.Logger
	mux      *http.ServeMux
	api      huma.API
	document []byte
	streams  *slots
	register *clients.Service

	stopping context.Context // ends when the streams have to
	stop     context.CancelFunc
}

// New registers all routes.
func New(config Config, services Services) (*Server, error) {
	config = withDefaults(config)
	s := &Server{register: clients.NewService(services.Clients, time.Now), Services: services, config: config, log: config.Log, mux: http.NewServeMux(), streams: newSlots(config.MaxStreams, config.MaxClientStreams)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.api = humago.New(s.mux, s.openAPI())
	s.api.UseMiddleware(s.authorize)
	if !config.Unserved {
		s.routes()
		s.plain()
	}
	s.probes()
	document, err := s.render()
	if err != nil {
		return nil, err
	}
	s.document = document
	return s, nil
}

func withDefaults(c Config) Config {
	c.MaxBody = orDefault(c.MaxBody, 64<<10)
	c.MaxIDs = orDefault(c.MaxIDs, 1000)
	c.MaxStreams = orDefault(c.MaxStreams, 4096)
	c.MaxClientStreams = orDefault(c.MaxClientStreams, 32)
	c.Heartbeat = orDefault(c.Heartbeat, 15*time.Second)
	c.Timeout = orDefault(c.Timeout, 30*time.Second)
	c.Version = orDefault(c.Version, "dev")
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func (s *Server) routes() {
	s.messageRoutes()
	s.streamRoutes()
	s.queryRoutes()
	s.operatorRoutes()
	s.taskRoutes()
	s.clientRoutes()
	s.walletRoutes()
	s.keyRoutes()
	s.transactionRoutes()
	s.catalogRoutes()
	s.workflowRoutes()
}
