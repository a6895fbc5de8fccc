package controlpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"

	"github.com/avalhq/aval/internal/problem"
)

// loader makes a control point of its file and gathers what is wrong with it.
type loader struct {
	*decoder
	options Options
	file    file
	request *compiler // of what is translated before a request
	answer  *compiler // of what is translated after it
	routing *compiler
	point   *Point
}

// LoadAll reads every *.yaml file in the root of files. No two have one name, nor the name of an action that is taken.
func LoadAll(files fs.FS, options Options, taken ...string) ([]*Point, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, problem.New(problem.Invalid, "control-points-unreadable", "the folder of control points cannot be read: %w", err)
	}
	var all []*Point
	var mistakes []error
	for _, e := range entries {
		if e.IsDir() || path.Ext(e.Name()) != ".yaml" {
			continue
		}
		source, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return nil, problem.New(problem.Invalid, "control-points-unreadable", "the control point %s cannot be read: %w", e.Name(), err)
		}
		p, err := Load(e.Name(), source, options)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		for _, a := range p.Actions() {
			if slices.Contains(taken, a.Name) {
				mistakes = append(mistakes, fmt.Errorf("%s: there is an action %q already; give the control point another name", e.Name(), a.Name))
			}
			taken = append(taken, a.Name)
		}
		all = append(all, p)
	}
	if len(mistakes) > 0 {
		return nil, problem.New(problem.Invalid, "control-point-invalid", "%w", errors.Join(mistakes...))
	}
	return all, nil
}

var pointName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// Load reads one control point. The error names every mistake with its line and column. where is the file's name.
func Load(where string, source []byte, options Options) (*Point, error) {
	l := &loader{decoder: &decoder{}, options: options}
	l.decode(source, &l.file)
	if err := l.err(where); err != nil {
		return nil, err
	}
	var err error
	for into, variables := range map[**compiler][]string{
		&l.request: {"args", "message", "target", "key"},
		&l.answer:  {"args", "message", "target", "key", "response"},
		&l.routing: {"args", "message", "headers"},
	} {
		if *into, err = newCompiler(l.decoder, variables...); err != nil {
			return nil, err
		}
	}
	l.load()
	return l.point, l.err(where)
}

func (l *loader) load() {
	f := &l.file
	p := &Point{Name: f.Name, Comment: f.Comment, targets: map[string]*target{}, journal: l.options.Journal, options: l.options}
	l.point = p
	if !pointName.MatchString(f.Name) {
		l.wrong("name", "must be small letters, digits and hyphens: it is the Resource that workflows name")
	}
	if f.Effect == nil {
		l.wrong("effect", "is missing: say true when the call changes something outside, and false when it only asks")
	} else {
		p.Effect = *f.Effect
	}
	if len(f.Targets) == 0 {
		l.wrong("targets", "is missing: name at least one system that is asked")
	}
	for _, name := range sorted(f.Targets) {
		if !pointName.MatchString(name) {
			l.wrong("targets."+name, "must be small letters, digits and hyphens")
		}
		p.targets[name] = l.target(name, f.Targets[name])
	}
	p.call = l.operation("", p.Name, p.Effect, &f.operationFile, true)
	if f.Compensation == nil {
		return
	}
	if !p.Effect {
		l.wrong("compensation", "is there and effect is false: there is nothing to take back")
	}
	p.needed = f.Compensation.Needed == nil || *f.Compensation.Needed
	if f.Compensation.Request == nil {
		l.wrong("compensation.request", "is missing")
	}
	p.compensation = l.operation("compensation.", p.Name+Suffix, true, &f.Compensation.operationFile, false)
}

// operation compiles the call, or the compensation; own says that what targets give of their own counts.
func (l *loader) operation(path, name string, effect bool, f *operationFile, own bool) *operation {
	o := &operation{
		name: name, effect: effect, arguments: l.schema(&f.Arguments, path+"arguments"), result: l.schema(&f.Result, path+"result"),
		legs: map[string]*leg{}, all: sorted(l.file.Targets),
	}
	for _, target := range o.all {
		if own {
			o.legs[target] = l.leg(l.point.targets[target], path, f, l.file.Targets[target], effect)
		} else {
			o.legs[target] = l.leg(l.point.targets[target], path, f, targetFile{}, effect)
		}
	}
	if f.Request != nil {
		o.headers = l.request.headers(f.Request.Headers, path+"request.headers")
	}
	l.gather(path, f.Gather, o)
	l.routes(path, f.Route, o)
	return o
}

// leg joins a target with what is asked of it.
func (l *loader) leg(t *target, path string, f *operationFile, own targetFile, effect bool) *leg {
	one := &leg{target: t}
	request, at := f.Request, path+"request"
	if own.Request != nil {
		request, at = own.Request, "targets."+t.name+".request"
	}
	if request == nil {
		l.wrong(at, "is missing: say how the arguments become a request, here or for the target %s", t.name)
		request = &requestFile{}
	}
	one.request = l.request.compile(request, at, "POST", effect)
	response, at := either(f.Response, &responseFile{}), path+"response"
	if own.Response != nil {
		response, at = own.Response, "targets."+t.name+".response"
	}
	one.response = l.response(response, at)
	look, at := f.Lookup, path+"lookup"
	if own.Lookup != nil {
		look, at = own.Lookup, "targets."+t.name+".lookup"
	}
	switch {
	case look != nil && !effect:
		l.wrong(at, "is there and effect is false: what only asks is asked again")
	case look != nil:
		one.lookup = &lookup{
			request: l.request.compile(&look.requestFile, at, "GET", false),
			absent:  l.spans(look.Absent, at+".absent", "404"), settle: either(look.Settle, t.timeout),
		}
	case effect && !t.idempotent && one.response.pending != nil:
		l.wrong(path+"response.pending", "is there and the outcome cannot be asked for: add lookup, or say of the target that it is idempotent")
	}
	return one
}

func (l *loader) gather(path string, f *gatherFile, o *operation) {
	if f == nil {
		return
	}
	o.gather = &gather{want: f.Want, quorum: f.Quorum}
	path += "gather"
	switch {
	case !slices.Contains([]string{"all", "first", "quorum"}, f.Want):
		l.wrong(path+".want", "must be all, first or quorum")
	case (f.Want == "quorum") != (f.Quorum > 0):
		l.wrong(path+".quorum", "says how many have to answer where want is quorum, and nowhere else")
	}
	seen, err := newCompiler(l.decoder, "args", "message", "answers")
	if err != nil {
		l.wrong(path, "cannot be prepared: %v", err)
		return
	}
	o.gather.result = seen.template(&f.Result, path+".result")
}

func (l *loader) routes(path string, given []routeFile, o *operation) {
	for i, f := range given {
		at := fmt.Sprintf("%sroute.%d", path, i)
		o.route = append(o.route, rule{when: l.routing.condition(f.When, at+".when"), to: f.To})
		for _, name := range f.To {
			if o.legs[name] == nil {
				l.wrong(at+".to", "names %q; there are the targets %v", name, o.all)
			}
		}
		if f.When == "" && i < len(given)-1 {
			l.wrong(at, "is for all that comes here, and others follow; add when, or make it the last")
		}
		l.enough(at+".to", f.To, o)
	}
	if len(given) == 0 {
		l.enough(path+"targets", o.all, o)
	}
}

// enough checks that a route fits what is gathered.
func (l *loader) enough(at string, to []string, o *operation) {
	switch {
	case o.gather == nil && len(to) != 1:
		l.wrong(at, "must be one target, as nothing is gathered; there are %d: add route, or gather", len(to))
	case o.gather != nil && (len(to) == 0 || len(to) < o.gather.quorum):
		l.wrong(at, "has %d targets, fewer than have to answer", len(to))
	case len(slices.Compact(slices.Sorted(slices.Values(to)))) < len(to):
		l.wrong(at, "names a target twice")
	}
}
