package expr

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
)

// What is assumed of values whose size nothing tells.
const (
	assumedElements = 1000
	assumedLength   = 4096
)

// cost estimates what an evaluation costs: more than is allowed at best is a fault, at worst a warning.
func (c *Checker) cost(checked *cel.Ast) (warnings, faults []*Error) {
	estimate, err := c.env.EstimateCost(checked, sizes{c})
	switch {
	case err != nil: // an expression that cannot be estimated is cut off when it runs
	case estimate.Min > maxCost:
		faults = append(faults, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("an evaluation costs at least %d; %d are allowed: say it in several steps, or on less", estimate.Min, maxCost)})
	case estimate.Max > maxCost:
		warnings = append(warnings, &Error{Line: 1, Column: 1, Message: fmt.Sprintf(
			"an evaluation may cost up to %d, of which %d are allowed, and would then fail; bound the lists by maxItems and the texts by maxLength in the schema, or loop over less", estimate.Max, maxCost)})
	}
	return warnings, faults
}

// sizes tells how large values are: as the schema bounds them, or as is assumed.
type sizes struct{ c *Checker }

// EstimateCallCost is part of cost.Estimator: the standard costs count.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// EstimateSize is part of cost.Estimator.
func (s sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if t := s.at(node.Path()); t != nil && t.size > 0 {
		return &cost.SizeEstimate{Max: t.size}
	}
	if known := node.ComputedSize(); known != nil {
		return known
	}
	switch node.Type().Kind() {
	case types.StringKind, types.BytesKind, types.OpaqueKind:
		return &cost.SizeEstimate{Max: assumedLength}
	}
	return &cost.SizeEstimate{Max: assumedElements}
}

// at is the type of the value that a path leads to.
func (s sizes) at(path []string) *Type {
	if len(path) == 0 {
		return nil
	}
	t := s.c.vars[path[0]]
	for _, step := range path[1:] {
		switch {
		case t == nil:
			return nil
		case step == "@items":
			t = t.element
		case t.fields != nil:
			t = t.fields[step]
		default:
			return nil
		}
	}
	return t
}
