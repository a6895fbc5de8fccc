// Command etcd is the etcd server, for the tests and benchmarks of a cluster.
//
// Debian's etcd is too old (below 3.6.9 reads can be stale), and etcd's own main cannot be installed with go install because of
// its replace directives. This main is in a module of its own, so that the program itself does not depend on the server.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
