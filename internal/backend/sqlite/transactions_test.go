package sqlite_test

import (
	"testing"

	backend "github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/transaction/transactiontest"
)

func TestTransactions(t *testing.T) {
	transactiontest.Run(t, func(t testing.TB) transactiontest.Harness {
		r := newRecord(t)
		return transactiontest.Harness{Faults: r.faults, Open: func(t testing.TB) transactiontest.Ports {
			db := r.open(t)
			transactions, keys := backend.NewTransactions(db), backend.NewKeys(db)
			return transactiontest.Ports{Keys: keys, Trust: keys, Decisions: backend.NewDecisions(db), Store: transactions, Journal: transactions}
		}}
	})
}
