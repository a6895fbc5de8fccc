package nodes

import "syscall"

// attributes let a node end with the process that started it, however that one ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
