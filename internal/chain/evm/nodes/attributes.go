//go:build !linux

package nodes

import "syscall"

// attributes are none: elsewhere a node can outlive a process that was killed.
func attributes() *syscall.SysProcAttr { return nil }
