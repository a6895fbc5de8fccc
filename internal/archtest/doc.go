// Package archtest keeps the rules that Aval's source follows, as tests over that source.
//
// Each rule says why it exists, looks at every Go file of the module (generated ones excepted) and names what breaks it,
// with file and line. A rule is itself tested: it brings source that breaks it, which it has to find, and source that does
// not, which it has to let pass. Where a rule has exceptions they stand in a list beside it, each with its reason, and an
// exception that nothing needs any more is an error.
//
// The rules see syntax, not types: they are fast, and a name can fool them. They guard against drift, not against malice.
package archtest
