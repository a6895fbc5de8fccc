// Package api holds the description of Aval's HTTP API, openapi.json, for those who generate clients or read.
//
// It is a copy of what every server serves at /openapi.json, made from the operations that the server registers. After a
// change of those run go generate ./api; a test keeps the two equal.
package api

//go:generate go run ./generate openapi.json
