package stage

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Cut is a way in which a network fails between two that speak over TCP.
type Cut string

// The cuts.
const (
	Closed    Cut = "closed"    // connections end, and new ones are refused
	Reset     Cut = "reset"     // who sends is answered by a reset
	Silent    Cut = "silent"    // nothing comes through and nothing ends; what was sent meanwhile is lost, and in the end the connection
	WayBack   Cut = "way back"  // the server hears everything, and nobody hears the server: what it carries out looks as if it had failed
	HeldBack  Cut = "held back" // nothing comes through until it is over, and then all of it does
	Forgotten Cut = "forgotten" // as silent, but the connections of before are never ended: a router has forgotten them
)

// Proxy leads to a server and can be cut. The cuts are toxiproxy's.
type Proxy struct {
	Address string // host:port
	tb      testing.TB
	to      string

	mu       sync.Mutex
	listener net.Listener
	route    *toxiproxy.Proxy // of new connections
}

// NewProxy leads to an address until the test ends.
func NewProxy(tb testing.TB, upstream string) *Proxy {
	tb.Helper()
	p := &Proxy{Address: "127.0.0.1:0", tb: tb, to: upstream}
	if err := p.reroute(); err != nil {
		tb.Fatal(err)
	}
	if err := p.open(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.close)
	return p
}

// reroute makes a way for new connections; those there are keep theirs.
func (p *Proxy) reroute() error {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	route := toxiproxy.NewProxy(server, "route", "127.0.0.1:0", p.to)
	if err := route.Start(); err != nil {
		return err
	}
	p.tb.Cleanup(route.Stop)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.route = route
	return nil
}

func (p *Proxy) way() *toxiproxy.Proxy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.route
}

// open listens, at the same address each time.
func (p *Proxy) open() error {
	listener, err := net.Listen("tcp", p.Address)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener, p.Address = listener, listener.Addr().String()
	p.mu.Unlock()
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go join(from, p.way().Listen)
		}
	}()
	return nil
}

func (p *Proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.listener.Close() // it may be closed already
}

// join passes everything on until one side ends.
func join(from net.Conn, address string) {
	defer func() { _ = from.Close() }()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[1], way[0]) // however it ends: both sides are closed
			ended <- struct{}{}
		}()
	}
	<-ended
}

const (
	timeout = `{"type":"timeout","stream":"%s","attributes":{"timeout":0}}`
	reset   = `{"type":"reset_peer","stream":"%s","attributes":{"timeout":0}}`
	latency = `{"type":"latency","stream":"%s","attributes":{"latency":3600000}}` // ended before
)

// Cut begins a cut; the func given ends it.
func (p *Proxy) Cut(how Cut) (mend func() error, err error) {
	route, toxic, streams := p.way(), timeout, []string{"upstream", "downstream"}
	mend = func() error { route.Toxics.ResetToxics(context.Background()); return nil }
	switch how {
	case Closed:
		p.close()
		route.Stop()
		return func() error {
			if err := p.reroute(); err != nil {
				return err
			}
			return p.open()
		}, nil
	case Reset:
		toxic = reset
	case WayBack:
		streams = streams[1:]
	case HeldBack:
		toxic = latency
	case Forgotten:
		mend = p.reroute
	case Silent:
	}
	for _, stream := range streams {
		if _, err := route.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(toxic, stream))); err != nil {
			return nil, fmt.Errorf("cut the connection (%s): %w", how, err)
		}
	}
	return mend, nil
}
