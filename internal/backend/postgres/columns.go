package postgres

import "fmt"

// columns are the arguments of a statement that takes a batch: an array for each column, filled row by row. The first row
// sets their types; an optional number is given as *int64.
type columns []any

// add appends a row.
func (c *columns) add(row ...any) {
	if *c == nil {
		*c = make(columns, len(row))
	}
	for i, value := range row {
		(*c)[i] = push((*c)[i], value)
	}
}

func push(column, value any) any {
	switch value := value.(type) {
	case string:
		return append(of[string](column), value)
	case []byte:
		return append(of[[]byte](column), value)
	case int64:
		return append(of[int64](column), value)
	case *int64:
		return append(of[*int64](column), value)
	case bool:
		return append(of[bool](column), value)
	}
	panic(fmt.Sprintf("a batch has no column of %T", value)) // a defect of the statement's code, met by its first run
}

func of[T any](column any) []T {
	typed, _ := column.([]T) // nil in the first row
	return typed
}
