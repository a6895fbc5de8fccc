//go:build nodes && !cluster

package chainfaults

import "testing"

// database is the section of the configuration that the program stores by: none, so in its data folder. See postgres_test.go.
func database(*testing.T) map[string]any { return nil }
