// Package cluster runs several processes of Aval on one database and one chain, lets servers and processes fail under load, and
// asks the outside what came of it. Its tests have the build tag cluster: they need real servers (make services-up).
//
// A crowd (crowd_test.go) is the processes, the clients that submit to all of them, and what these clients wrote down. What happens
// to it meanwhile is in the files named by it: several_test.go for processes that are killed, restarted and given roles,
// cuts_test.go for networks, faults_test.go and kills_test.go for each role and each server of a fleet (fleet_test.go): a process
// for each role over PostgreSQL, Kafka and etcd of the test's own. The chain is not part of it: it runs in the test, behind a
// wire that keeps every transaction that was ever broadcast. In the end (check_test.go) every message that was accepted has
// ended, within a minute; each transfer is on the chain once; nothing else is; the nonces have no gap; nothing was signed
// besides.
//
// The short run is part of make test-cluster; make clusterfaults makes a longer one. docs/reliability.md has the results.
package cluster
