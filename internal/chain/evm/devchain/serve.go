package devchain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/problem"
)

// listen takes the port.
func (c *Chain) listen() error {
	var err error
	c.listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.config.Port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return problem.New(problem.Conflict, "port-in-use",
			"another program listens on port %d of 127.0.0.1: end it, or choose another port for the development chain "+
				"(0 takes a free one): %w", c.config.Port, err)
	}
	if err != nil {
		return fmt.Errorf("opening port %d on 127.0.0.1 for the development chain: %w", c.config.Port, err)
	}
	return nil
}

// serve offers the node's public interfaces, and dev_…, on the listener and the socket. The node's own servers stay off:
// one port for HTTP and WebSocket, and no administration interface, is all that is wanted.
func (c *Chain) serve() error {
	c.rpc = rpc.NewServer()
	for _, offered := range c.interfaces() {
		if err := c.rpc.RegisterName(offered.Namespace, offered.Service); err != nil {
			return fmt.Errorf("offering %s on the development chain: %w", offered.Namespace, err)
		}
	}
	c.http = &http.Server{Handler: c.handler(), ReadHeaderTimeout: 10 * time.Second}
	c.served.Go(func() { _ = c.http.Serve(c.listener) }) // ends with ErrServerClosed
	return c.serveIPC()
}

func (c *Chain) interfaces() []rpc.API {
	offered := []rpc.API{
		{Namespace: "dev", Service: api{c}},
		{Namespace: "eth", Service: filters.NewFilterAPI(filters.NewFilterSystem(c.eth.APIBackend, filters.Config{}))},
	}
	for _, service := range c.eth.APIs() {
		switch service.Namespace {
		case "eth", "net", "txpool":
			offered = append(offered, service)
		}
	}
	return offered
}

// handler sends upgrades to the WebSocket server and the rest to HTTP. A Host that is not this machine is refused: a web
// page must not reach the chain by pointing its own name at 127.0.0.1.
func (c *Chain) handler() http.Handler {
	socket := c.rpc.WebsocketHandler(nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		switch {
		case host != "localhost" && net.ParseIP(host) == nil:
			http.Error(w, "the development chain answers to localhost and 127.0.0.1 alone", http.StatusForbidden)
		case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
			socket.ServeHTTP(w, r)
		default:
			c.rpc.ServeHTTP(w, r)
		}
	})
}

func (c *Chain) serveIPC() error {
	if c.config.IPC == "" {
		return nil
	}
	if err := os.Remove(c.config.IPC); err != nil && !errors.Is(err, os.ErrNotExist) { // left by a process that was killed
		return fmt.Errorf("removing the old socket: %w", err)
	}
	var err error
	if c.ipc, err = net.Listen("unix", c.config.IPC); err != nil {
		return fmt.Errorf("opening the socket %s (the path may have about 100 characters): %w", c.config.IPC, err)
	}
	if err := os.Chmod(c.config.IPC, 0o600); err != nil {
		return fmt.Errorf("closing the socket to others: %w", err)
	}
	c.served.Go(func() { _ = c.rpc.ServeListener(c.ipc) }) // ends when the socket is closed
	return nil
}

func (c *Chain) stopServing() error {
	var err error
	if c.ipc != nil {
		err = c.ipc.Close()
	}
	if c.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if shut := c.http.Shutdown(ctx); shut != nil {
			err = errors.Join(err, c.http.Close())
		}
	}
	c.rpc.Stop()
	c.served.Wait()
	return err
}

// quiet hides the logger's type from log.SetDefault, which would otherwise replace the process's slog default as well.
type quiet struct{ log.Logger }

func setLogger(handler slog.Handler) { log.SetDefault(quiet{log.NewLogger(handler)}) }
