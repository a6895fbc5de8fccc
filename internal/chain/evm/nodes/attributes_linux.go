package nodes

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
)

// attributes let a node end with the process that started it, however that one ends.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// caught is the set of signals that a process handles, as proc_pid_status(5) shows it: a bit for each, from the lowest.
var caught = regexp.MustCompile(`SigCgt:\s*([0-9a-f]+)`)

// heeds says whether a process handles a signal.
func heeds(pid int, signal syscall.Signal) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // none: it has ended
	found := caught.FindSubmatch(status)
	if found == nil {
		return true
	}
	set, err := strconv.ParseUint(string(found[1]), 16, 64)
	return err != nil || set>>(signal-1)&1 == 1
}
