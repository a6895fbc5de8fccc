package controlpoint

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// Allowed says which private hosts and networks control points may reach beside the public internet, and which may be
// spoken to without TLS. The zero value allows none.
type Allowed struct {
	hosts    map[string]bool
	networks []netip.Prefix
}

// ParseAllowed reads host names, addresses and networks in CIDR notation, separated by blanks or commas.
func ParseAllowed(list string) (Allowed, error) {
	a := Allowed{hosts: map[string]bool{}}
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		if network, err := netip.ParsePrefix(word); err == nil {
			a.networks = append(a.networks, network.Masked())
			continue
		}
		if address, err := netip.ParseAddr(word); err == nil {
			a.networks = append(a.networks, netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()))
			continue
		}
		if strings.ContainsAny(word, "/:*@") {
			return a, problem.New(problem.Invalid, "config-invalid", "%q is no host name, address or network such as 10.0.0.0/8", word)
		}
		a.hosts[strings.ToLower(word)] = true
	}
	return a, nil
}

// named tells whether a host may be reached wherever its name leads to.
func (a Allowed) named(host string) bool { return a.hosts[strings.ToLower(host)] }

// plain tells whether a host may be spoken to without TLS.
func (a Allowed) plain(host string) bool {
	address, err := netip.ParseAddr(host)
	return a.named(host) || err == nil && a.listed(address.Unmap())
}

func (a Allowed) listed(address netip.Addr) bool {
	for _, network := range a.networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// dial connects. What a name leads to is judged when the connection is made, by the address that is connected to, so that
// a name which changes between two looks is of no use (A27).
func (a Allowed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !a.named(host) {
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return a.judge(address) }
	}
	return dialer.DialContext(ctx, network, address)
}

func (a Allowed) judge(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the address cannot be judged: %w", err)
	}
	ip := at.Addr().Unmap().WithZone("")
	if public(ip) || a.listed(ip) {
		return nil
	}
	return problem.New(problem.Forbidden, "control-point-address-refused", "%s is no public address, and control_points.allow lists neither it nor the host's name", ip)
}

// public tells whether an address is one of the public internet: a unicast address that no registry has set aside
// (IANA's registries of special-purpose addresses), also where it holds an IPv4 address within.
func public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, network := range special() {
		if network.Contains(ip) {
			return false
		}
	}
	return true
}

// special are the networks set aside that netip does not know. Those that carry IPv4 addresses within are among them
// whole: nobody has to be reached through them.
func special() []netip.Prefix {
	var all []netip.Prefix
	for _, network := range [...]string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		all = append(all, netip.MustParsePrefix(network))
	}
	return all
}
