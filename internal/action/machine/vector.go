package machine

import "slices"

// vector is a list of fixed length of which changed copies share what is the same: a Move changes no input, and one that
// touches a branch of thousands copies some dozens.
type vector[T any] struct{ chunks [][]T }

const chunk = 64

func newVector[T any](length int) vector[T] {
	return vector[T]{make([][]T, (length+chunk-1)/chunk)}
}

func (v vector[T]) at(i int) (x T) {
	if c := v.chunks[i/chunk]; c != nil {
		return c[i%chunk]
	}
	return x
}

// with is the vector with one element changed.
func (v vector[T]) with(i int, x T) vector[T] {
	changed := vector[T]{slices.Clone(v.chunks)}
	changed.set(i, x)
	return changed
}

// set changes an element in place, in a chunk of its own: of a vector that nobody else has.
func (v vector[T]) set(i int, x T) {
	c := make([]T, chunk)
	copy(c, v.chunks[i/chunk])
	c[i%chunk] = x
	v.chunks[i/chunk] = c
}
