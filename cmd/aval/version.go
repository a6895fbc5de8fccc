package main

import (
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run is the command.
func (versionCommand) Run(s *screen) error { //nolint:unparam // every command may fail
	v := struct {
		Version  string `json:"version"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	s.answer(v, func() { s.say("aval %s, %s, %s", v.Version, v.Go, v.Platform) })
	return nil
}

// version is what the build knows of itself: the module's version, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value[:min(len(setting.Value), 12)]
		}
	}
	return "development"
}
