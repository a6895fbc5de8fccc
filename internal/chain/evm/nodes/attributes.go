//go:build !linux

package nodes

import "syscall"

// attributes are none: elsewhere a node can outlive a process that was killed.
func attributes() *syscall.SysProcAttr { return nil }

// heeds cannot be asked elsewhere.
func heeds(int, syscall.Signal) bool { return true }
